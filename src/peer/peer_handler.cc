#include "peer/peer_handler.h"

namespace kvorum::peer {
namespace {

class PeerHandler final : public http::Handler {
 public:
  explicit PeerHandler(const PeerHandlers& handlers) : handlers_(handlers) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    return For(request.path).Start(request, writer);
  }

 private:
  http::Handler& For(std::string_view path) const {
    const std::string_view first = path.substr(0, path.find('/', 1));
    if (first == "/raft") return *handlers_.transport;
    if (first == "/members" || first == "/leases" || first == "/downgrade") return *handlers_.calls;
    return *handlers_.pages;
  }

  const PeerHandlers handlers_;
};

}  // namespace

std::unique_ptr<http::Handler> NewPeerHandler(const PeerHandlers& handlers) {
  return std::make_unique<PeerHandler>(handlers);
}

}  // namespace kvorum::peer
