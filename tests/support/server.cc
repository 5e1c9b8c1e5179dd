#include "support/server.h"

#include <signal.h>

#include "base/check.h"

namespace kvorum::test {

std::string KvorumProgram() { return KVORUM_PROGRAM; }

Server::Server(Kind kind, std::vector<std::string> flags) : kind_(kind), flags_(std::move(flags)) { Start(); }

void Server::Start() {
  const std::string peer = "http://127.0.0.1:" + std::to_string(peer_port_);
  std::vector<std::string> argv = {kind_ == Kind::kKvorum ? KvorumProgram() : "etcd",
                                   "--name=default",
                                   "--data-dir=" + data_dir(),
                                   "--listen-client-urls=" + url(),
                                   "--advertise-client-urls=" + url(),
                                   "--listen-peer-urls=" + peer,
                                   "--initial-advertise-peer-urls=" + peer,
                                   "--initial-cluster=default=" + peer};
  if (kind_ == Kind::kEtcd) argv.push_back("--logger=zap");
  argv.insert(argv.end(), flags_.begin(), flags_.end());
  process_ = std::make_unique<Process>(argv);

  // etcd 3.4 logs its ready line only in its old format.
  const std::string ready =
      kind_ == Kind::kKvorum ? "ready to serve client requests" : "serving client traffic insecurely";
  KVORUM_CHECK(process_->WaitForOutput(ready), "the server did not start:\n{}", process_->output());
}

void Server::StartAs(Kind kind, std::vector<std::string> flags) {
  kind_ = kind;
  flags_ = std::move(flags);
  Start();
}

void Server::Kill() {
  process_->Signal(SIGKILL);
  process_->Wait();
}

int Server::Terminate() {
  process_->Signal(SIGTERM);
  return process_->Wait();
}

CommandResult Server::Etcdctl(const std::string& arguments) const {
  return Shell("etcdctl " + arguments, {{"ETCDCTL_API", "3"}, {"ETCDCTL_ENDPOINTS", endpoint()}});
}

}  // namespace kvorum::test
