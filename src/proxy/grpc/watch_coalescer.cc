#include "proxy/grpc/watch_coalescer.h"

#include "base/check.h"

namespace kvorum::proxy_grpc {

WatchCoalescer::~WatchCoalescer() { KVORUM_CHECK(clients_.empty(), "clients are left"); }

void WatchCoalescer::OnOpen(ClientSink* sink, http::Headers metadata) {
  std::unique_ptr<Client>& client = clients_[sink];
  client = std::make_unique<Client>();
  client->credentials = CredentialsKey(metadata);
  std::unique_ptr<WatchSession>& session = sessions_[client->credentials];
  if (session == nullptr) {
    session = std::make_unique<WatchSession>(cluster_, prefix_, std::move(metadata), &metrics_, logger_);
  }
  client->state.sink = sink;
  client->state.session = session.get();
  session->Add(&client->state);
}

void WatchCoalescer::OnMessage(ClientSink* sink, std::string_view message) {
  WatchRequest request;
  if (!ParseWatchRequest(message, &request)) return sink->End(MalformedRequestError());
  WatchClient& client = clients_.at(sink)->state;
  client.session->OnRequest(&client, std::move(request));
}

void WatchCoalescer::OnRoom(ClientSink* sink) {
  WatchClient& client = clients_.at(sink)->state;
  client.session->OnRoom(&client);
}

void WatchCoalescer::OnClose(ClientSink* sink) {
  const auto found = clients_.find(sink);
  WatchClient& client = found->second->state;
  client.session->Remove(&client);
  if (client.session->empty()) sessions_.erase(found->second->credentials);
  clients_.erase(found);
}

size_t WatchCoalescer::broadcasts() const {
  size_t n = 0;
  for (const auto& [key, session] : sessions_) n += session->broadcasts();
  return n;
}

void WatchCoalescer::CheckInvariants() const {
  for (const auto& [key, session] : sessions_) session->CheckInvariants();
}

}  // namespace kvorum::proxy_grpc
