#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/process.h"

namespace kvorum::test {

/// A one-member cluster in a process of its own, Kvorum or Debian's etcd, on ports of its own. The data
/// directory outlives restarts and is removed with the server.
class Server {
 public:
  enum class Kind { kKvorum, kEtcd };

  /// Starts it and waits until it serves clients. `flags` are added to the command line.
  explicit Server(Kind kind, std::vector<std::string> flags = {});

  Kind kind() const { return kind_; }
  /// "http://127.0.0.1:PORT".
  std::string url() const { return "http://" + endpoint(); }
  /// "127.0.0.1:PORT".
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(client_port_); }
  /// The same of the port for members.
  std::string peer_endpoint() const { return "127.0.0.1:" + std::to_string(peer_port_); }
  std::string data_dir() const { return dir_ / "data"; }
  Process& process() { return *process_; }

  /// SIGKILL.
  void Kill();
  /// SIGTERM; the wait status.
  int Terminate();
  /// After Kill or Terminate: starts again over the same data and waits until it serves clients.
  void Start();
  /// The same with the other program, and flags of its own.
  void StartAs(Kind kind, std::vector<std::string> flags = {});

  /// `etcdctl ARGUMENTS` with this endpoint, API version 3.
  CommandResult Etcdctl(const std::string& arguments) const;

 private:
  Kind kind_;
  std::vector<std::string> flags_;
  const TempDir dir_;
  const int client_port_ = FreePort();
  const int peer_port_ = FreePort();
  std::unique_ptr<Process> process_;
};

/// The kvorum program of this build.
std::string KvorumProgram();

}  // namespace kvorum::test
