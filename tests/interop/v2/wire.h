#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace kvorum::test {

/// What a server answered to one request, as far as it has come.
struct Answer {
  int status = 0;                              ///< 0: the connection ended without an answer
  std::map<std::string, std::string> headers;  ///< names in lower case; several values joined by ", "
  std::string body;
  bool ended = false;  ///< nothing more comes
};

/// One HTTP/1.1 connection to a port of this machine, over which bytes are sent as they are: good and bad
/// requests alike. Of one thread.
class WireConnection {
 public:
  explicit WireConnection(int port);
  ~WireConnection();
  WireConnection(const WireConnection&) = delete;
  WireConnection& operator=(const WireConnection&) = delete;

  /// Sends one request. What a server that hangs up does not take is dropped; the answer tells.
  void Send(std::string_view bytes, bool is_head);
  /// Waits for the head of the answer, at most so long; false where none came.
  bool AwaitHead(std::chrono::milliseconds patience);
  /// The same for the whole answer.
  bool AwaitEnd(std::chrono::milliseconds patience);
  /// Takes in what has arrived, without waiting.
  void Take();
  const Answer& answer() const { return answer_; }
  /// Whether another request may follow.
  bool reusable() const { return reusable_; }

 private:
  bool Await(std::chrono::milliseconds patience, bool whole);
  /// Takes in what arrives within the time; false at the end of the time.
  bool Receive(int milliseconds);
  void Parse();
  void ParseHead(std::string_view head);
  void ParseChunks();

  int fd_ = -1;
  std::string raw_;  // what has come and is not in `answer_` yet
  bool closed_ = false;
  bool is_head_ = false;
  bool have_head_ = false;
  bool reusable_ = true;
  Answer answer_;
};

}  // namespace kvorum::test
