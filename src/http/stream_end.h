#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "http/byte_stream.h"
#include "http/session_driver.h"

namespace kvorum::http {

/// One end of a connection: sends what it is told to, and keeps what it reads.
class End final : public ByteStream::User, public std::enable_shared_from_this<End> {
 public:
  explicit End(Loop& loop) : loop_(loop) {}

  void Open(std::unique_ptr<ByteStream> stream) { stream_ = std::move(stream); }
  ByteStream& stream() { return *stream_; }

  void StartReading(size_t buffer_size = 10'000) {
    RunOn(loop_, [&] {
      buffer_.resize(buffer_size);
      stream_->Read(buffer_.data(), buffer_.size(), shared_from_this());
    });
  }
  void StartWaiting() {
    RunOn(loop_, [&] {
      absl::MutexLock lock(&mutex_);
      readable_ = false;
      stream_->WaitReadable(shared_from_this());
    });
  }
  void Send(std::string data) {
    RunOn(loop_, [&] {
      output_ += data;
      if (!waiting_) Flush();
    });
  }
  void CloseWrite() {
    RunOn(loop_, [&] { stream_->CloseWrite(); });
  }
  /// What was not taken by then is lost.
  size_t Close() {
    size_t taken = 0;
    RunOn(loop_, [&] {
      taken = taken_;
      stream_->Close();
    });
    return taken;
  }
  std::string error() {
    std::string text;
    RunOn(loop_, [&] { text = stream_->error(); });
    return text;
  }

  void OnRead(size_t size, bool broken) override {
    absl::MutexLock lock(&mutex_);
    received_.append(buffer_.data(), size);
    if (size == 0) {
      end_ = broken ? "broken" : "end";
    } else {
      stream_->Read(buffer_.data(), buffer_.size(), shared_from_this());
    }
  }
  void OnReadable() override {
    absl::MutexLock lock(&mutex_);
    readable_ = true;
  }
  void OnWritable() override {
    waiting_ = false;
    Flush();
  }

  std::string AwaitBytes(size_t count) {
    return Await([this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return received_.size() >= count; });
  }
  /// "end", "broken".
  std::string AwaitEnd() {
    Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !end_.empty(); });
    absl::MutexLock lock(&mutex_);
    return end_;
  }
  void AwaitReadable() {
    Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return readable_; });
  }
  void AwaitBlocked() {
    bool blocked = false;
    while (!blocked) RunOn(loop_, [&] { blocked = waiting_; });
  }
  bool readable() {
    absl::MutexLock lock(&mutex_);
    return readable_;
  }
  std::string received() {
    absl::MutexLock lock(&mutex_);
    return received_;
  }

 private:
  template <typename Condition>
  std::string Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(30)));
    return received_;
  }
  void Flush() {
    while (taken_ < output_.size()) {
      // Pieces of many sizes.
      iovec pieces[5];
      size_t at = taken_;
      int count = 0;
      for (const size_t size : {size_t{1}, size_t{300}, size_t{20'000}, size_t{7}, size_t{100'000}}) {
        const size_t n = std::min(size, output_.size() - at);
        if (n > 0) pieces[count++] = {.iov_base = output_.data() + at, .iov_len = n};
        at += n;
      }
      const ssize_t n = stream_->Write(pieces, count);
      if (n < 0) return;
      if (n == 0) {
        waiting_ = true;
        return stream_->WaitWritable(shared_from_this());
      }
      taken_ += static_cast<size_t>(n);
    }
  }

  Loop& loop_;
  // Of the loop.
  std::unique_ptr<ByteStream> stream_;
  std::string buffer_;
  std::string output_;
  size_t taken_ = 0;
  bool waiting_ = false;

  absl::Mutex mutex_;
  std::string received_ ABSL_GUARDED_BY(mutex_);
  std::string end_ ABSL_GUARDED_BY(mutex_);
  bool readable_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace kvorum::http
