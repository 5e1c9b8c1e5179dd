#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <string>

#include "fmt/format.h"

// For tests: authorities and certificates, made by the openssl command in a directory of their own.

namespace kvorum::http {

/// Two authorities, "ca" and "other-ca", and whatever certificates are asked for.
class TestCertificates {
 public:
  TestCertificates() : directory_(::testing::TempDir() + "tlsXXXXXX") {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    for (const std::string name : {"ca", "other-ca"}) {
      Write(name + ".conf",
            fmt::format("[ca]\ndefault_ca=d\n"
                        "[d]\ndatabase={0}/{1}.txt\nserial={0}/{1}.serial\nnew_certs_dir={0}\n"
                        "certificate={0}/{1}.pem\nprivate_key={0}/{1}.key\ndefault_md=sha256\n"
                        "policy=p\ncopy_extensions=copy\nunique_subject=no\n"
                        "default_crl_days=30\n[p]\ncommonName=optional\n",
                        directory_, name));
      Write(name + ".txt", "");
      Write(name + ".serial", "1a00\n");
      Run(fmt::format("req -x509 {} -keyout {}.key -out {}.pem -days 10 -subj /CN={}", kKey, name, name,
                      name));
      Run(fmt::format("ca -config {}.conf -gencrl -out {}.crl", name, name));
    }
  }
  ~TestCertificates() { EXPECT_EQ(::system(("rm -r '" + directory_ + "'").c_str()), 0); }
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  /// `NAME.pem` and `NAME.key`. `names`: of the subject ("DNS:localhost,IP:127.0.0.1"); empty: none.
  /// `period`: "-days 5", or "-startdate 20200101000000Z -enddate 20200102000000Z".
  void Make(const std::string& name, const std::string& names, const std::string& authority = "ca",
            const std::string& period = "-days 5", const std::string& more = "") {
    const std::string extension = names.empty() ? "" : " -addext subjectAltName=" + names;
    Run(fmt::format("req -new {} -keyout {}.key -out {}.csr -subj /CN={}{} {}", kKey, name, name, name,
                    extension, more));
    Run(fmt::format("ca -batch -notext -config {}.conf -in {}.csr -out {}.pem {}", authority, name, name,
                    period));
  }
  /// Takes it back, in `AUTHORITY.crl`.
  void Revoke(const std::string& name, const std::string& authority = "ca") {
    Run(fmt::format("ca -config {}.conf -revoke {}.pem", authority, name));
    Run(fmt::format("ca -config {}.conf -gencrl -out {}.crl", authority, authority));
  }
  void Write(const std::string& name, const std::string& content) { std::ofstream(*this / name) << content; }

  std::string operator/(const std::string& name) const { return directory_ + "/" + name; }

 private:
  static constexpr std::string_view kKey = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

  void Run(const std::string& arguments) {
    const std::string command = fmt::format("cd '{}' && openssl {} >log 2>&1", directory_, arguments);
    EXPECT_EQ(::system(command.c_str()), 0) << arguments << "\n" << std::ifstream(*this / "log").rdbuf();
  }

  std::string directory_;
};

}  // namespace kvorum::http
