#pragma once

#include <memory>

#include "api/admin/handlers.h"

namespace kvorum::api_admin {

/// /health, /livez and /readyz (reference: http-endpoints.md §2.2, §2.3). Thread-safe; outlives its requests.
class Health {
 public:
  explicit Health(const HandlerOptions& options);

  /// Answers the request where its path is one of these; null where it is not.
  std::unique_ptr<http::RequestSink> TryStart(const http::Request& request, http::ResponseWriter& writer);

 private:
  struct Probe;
  struct Run;

  std::unique_ptr<http::RequestSink> StartLegacy(const http::Request& request, http::ResponseWriter& writer);
  void AnswerLegacy(http::ResponseWriter& writer, std::string_view reason);
  std::unique_ptr<http::RequestSink> StartProbe(const Probe& probe, std::string_view sub_path,
                                                const http::Request& request, http::ResponseWriter& writer);
  void Advance(std::shared_ptr<Run> run);
  absl::Status Trouble() const;
  void Record(Run& run, const absl::Status& result);
  void AnswerProbe(Run& run);

  /// Reads as a client would, after confirming it where `linearizable`; `done` runs on the loop, perhaps at
  /// once.
  void Read(http::Loop& loop, bool linearizable, absl::AnyInvocable<void(absl::Status)> done);

  member::Member& member_;
  Logger& logger_;
  metrics::Counter& health_success_;
  metrics::Counter& health_failures_;
  metrics::Family<metrics::Gauge>& healthcheck_;
  metrics::Family<metrics::Counter>& healthchecks_;
};

}  // namespace kvorum::api_admin
