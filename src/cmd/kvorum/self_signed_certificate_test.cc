#include "cmd/kvorum/self_signed_certificate.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <memory>

#include "base/env.h"
#include "base/testing/temp_directory.h"
#include "gtest/gtest.h"
#include "http/tls.h"

namespace kvorum::cmd {
namespace {

using CertificatePtr = std::unique_ptr<X509, void (*)(X509*)>;

CertificatePtr Read(const std::string& file) {
  FILE* const content = std::fopen(file.c_str(), "r");
  EXPECT_NE(content, nullptr);
  CertificatePtr certificate(PEM_read_X509(content, nullptr, nullptr, nullptr), &X509_free);
  std::fclose(content);
  return certificate;
}

TEST(CmdSelfSignedCertificate, IsForItsHosts) {
  const testing::TempDirectory directory;
  const std::string folder = directory.path() + "/a/b";
  const auto files =
      SelfSignedCertificate(folder, {"127.0.0.1", "::1", "localhost", "localhost"}, 3, NullLogger());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->cert_file, folder + "/cert.pem");
  const CertificatePtr certificate = Read(files->cert_file);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "localhost", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "example.com", 0, 0, nullptr), 0);
  int days = 0;
  int seconds = 0;
  ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get()));
  EXPECT_GE(days, 3 * 365 - 1);
  struct stat info;
  ASSERT_EQ(::stat(files->key_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE(http::TlsContext::ForServer({.cert_file = files->cert_file, .key_file = files->key_file}).ok());
}

TEST(CmdSelfSignedCertificate, StaysAsLongAsItIsGood) {
  const testing::TempDirectory directory;
  const auto make = [&] {
    return SelfSignedCertificate(directory.path(), {"localhost"}, 1, NullLogger()).value();
  };
  const CertificateFiles files = make();
  const std::string first = PosixEnv().ReadFile(files.cert_file).value();
  make();
  EXPECT_EQ(PosixEnv().ReadFile(files.cert_file).value(), first);
  // One that is over makes room for another.
  CertificatePtr old = Read(files.cert_file);
  X509_gmtime_adj(X509_getm_notAfter(old.get()), -60);
  FILE* const content = std::fopen(files.cert_file.c_str(), "w");
  PEM_write_X509(content, old.get());
  std::fclose(content);
  make();
  EXPECT_GT(X509_cmp_current_time(X509_get0_notAfter(Read(files.cert_file).get())), 0);
}

TEST(CmdSelfSignedCertificate, NeedsYears) {
  const testing::TempDirectory directory;
  EXPECT_EQ(SelfSignedCertificate(directory.path(), {"localhost"}, 0, NullLogger()).status().message(),
            "selfSignedCertValidity is invalid,it should be greater than 0");
}

}  // namespace
}  // namespace kvorum::cmd
