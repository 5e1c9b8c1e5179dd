#include "base/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <variant>

#include "base/check.h"

namespace kvorum::metrics {

Histogram::Histogram(double start, double factor, size_t buckets) : buckets_(buckets) {
  KVORUM_CHECK(buckets > 0 && buckets <= kMaxBuckets, "{} buckets", buckets);
  for (size_t i = 0; i < buckets; ++i, start *= factor) bounds_[i] = start;
}

Histogram::Histogram(std::span<const double> bounds) : buckets_(bounds.size()) {
  KVORUM_CHECK(!bounds.empty() && bounds.size() <= kMaxBuckets, "{} buckets", bounds.size());
  KVORUM_CHECK(std::is_sorted(bounds.begin(), bounds.end()));
  std::copy(bounds.begin(), bounds.end(), bounds_.begin());
}

void Histogram::Observe(double v) {
  // The first bound that is not below v; values above them all, and NaN, belong to +Inf.
  size_t i = 0;
  while (i < buckets_ && !(v <= bounds_[i])) ++i;
  counts_[i].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(v, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot;
  snapshot.bounds.assign(bounds_.begin(), bounds_.begin() + buckets_);
  uint64_t count = 0;
  for (size_t i = 0; i <= buckets_; ++i) {
    count += counts_[i].load(std::memory_order_relaxed);
    snapshot.cumulative.push_back(count);
  }
  snapshot.sum = sum_.load(std::memory_order_relaxed);
  return snapshot;
}

namespace {

/// As Go's strconv.FormatFloat(v, 'g', -1, 64): the shortest digits that read back as v, with an exponent
/// below 1e-4 and from 1e6 on.
void AppendFloat(std::string& out, double v) {
  if (std::isnan(v)) {
    out += "NaN";
  } else if (std::isinf(v)) {
    out += v > 0 ? "+Inf" : "-Inf";
  } else {
    const double magnitude = std::abs(v);
    const bool fixed = v == 0 || (magnitude >= 1e-4 && magnitude < 1e6);
    char buffer[64];
    const auto end = std::to_chars(buffer, std::end(buffer), v == 0 ? 0.0 : v,
                                   fixed ? std::chars_format::fixed : std::chars_format::scientific);
    out.append(buffer, end.ptr);
  }
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string_view TypeName(Declared declared) {
  switch (declared) {
    case Declared::kCounter:
      return "counter";
    case Declared::kGauge:
      return "gauge";
    case Declared::kHistogram:
      return "histogram";
  }
  return "";
}

/// `a="1",b="2"`, in the order of the names.
std::string LabelText(const std::vector<std::string>& names, const LabelValues& values) {
  KVORUM_CHECK(names.size() == values.size(), "{} labels, {} values", names.size(), values.size());
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return names[a] < names[b]; });
  std::string out;
  for (const size_t i : order) {
    if (!out.empty()) out += ',';
    out += names[i];
    out += "=\"";
    AppendEscaped(out, values[i], /*quotes=*/true);
    out += '"';
  }
  return out;
}

void AppendSample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                  double value) {
  out += name;
  out += suffix;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
  AppendFloat(out, value);
  out += '\n';
}

void AppendHistogram(std::string& out, std::string_view name, const std::string& labels,
                     const Histogram& histogram) {
  const Histogram::Snapshot snapshot = histogram.Read();
  const std::string prefix = labels.empty() ? "le=\"" : labels + ",le=\"";
  for (size_t i = 0; i < snapshot.cumulative.size(); ++i) {
    std::string with_bound = prefix;
    AppendFloat(with_bound, i < snapshot.bounds.size() ? snapshot.bounds[i] : INFINITY);
    with_bound += '"';
    AppendSample(out, name, "_bucket", with_bound, static_cast<double>(snapshot.cumulative[i]));
  }
  AppendSample(out, name, "_sum", labels, snapshot.sum);
  AppendSample(out, name, "_count", labels, static_cast<double>(snapshot.cumulative.back()));
}

void AppendValue(std::string& out, std::string_view name, const std::string& labels, const Counter& counter) {
  AppendSample(out, name, "", labels, static_cast<double>(counter.value()));
}
void AppendValue(std::string& out, std::string_view name, const std::string& labels, const Gauge& gauge) {
  AppendSample(out, name, "", labels, static_cast<double>(gauge.value()));
}
void AppendValue(std::string& out, std::string_view name, const std::string& labels,
                 const Histogram& histogram) {
  AppendHistogram(out, name, labels, histogram);
}

struct Callback {
  mutable absl::Mutex mutex;
  std::function<double()> read ABSL_GUARDED_BY(mutex);
};

}  // namespace

/// One family: its declaration and exactly one of the metrics.
struct Registry::Entry {
  std::string help;
  Declared declared;
  std::variant<std::monostate, std::unique_ptr<Counter>, std::unique_ptr<Gauge>, std::unique_ptr<Histogram>,
               std::unique_ptr<Callback>, std::unique_ptr<Family<Counter>>, std::unique_ptr<Family<Gauge>>,
               std::unique_ptr<Family<Histogram>>>
      metric;

  /// The metric, made by `make` in the first call.
  template <typename Metric, typename Make>
  Metric& Get(std::string_view name, Make make) {
    if (std::holds_alternative<std::monostate>(metric)) metric = make();
    auto* held = std::get_if<std::unique_ptr<Metric>>(&metric);
    KVORUM_CHECK(held != nullptr, "metric {} is of another kind", name);
    return **held;
  }

  void AppendTo(std::string& out, std::string_view name) const;
};

void Registry::Entry::AppendTo(std::string& out, std::string_view name) const {
  std::string samples;
  const auto append_family = [&](const auto& family) {
    family.ForEach([&](const LabelValues& values, const auto& member) {
      AppendValue(samples, name, LabelText(family.label_names(), values), member);
    });
  };
  struct Visitor {
    std::string& samples;
    std::string_view name;
    const decltype(append_family)& family;
    void operator()(std::monostate) const {}
    void operator()(const std::unique_ptr<Counter>& m) const { AppendValue(samples, name, "", *m); }
    void operator()(const std::unique_ptr<Gauge>& m) const { AppendValue(samples, name, "", *m); }
    void operator()(const std::unique_ptr<Histogram>& m) const { AppendValue(samples, name, "", *m); }
    void operator()(const std::unique_ptr<Callback>& m) const {
      std::function<double()> read;
      {
        absl::MutexLock lock(&m->mutex);
        read = m->read;
      }
      AppendSample(samples, name, "", "", read());
    }
    void operator()(const std::unique_ptr<Family<Counter>>& m) const { family(*m); }
    void operator()(const std::unique_ptr<Family<Gauge>>& m) const { family(*m); }
    void operator()(const std::unique_ptr<Family<Histogram>>& m) const { family(*m); }
  };
  std::visit(Visitor{samples, name, append_family}, metric);
  if (samples.empty()) return;
  out += "# HELP ";
  out += name;
  out += ' ';
  AppendEscaped(out, help, /*quotes=*/false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += TypeName(declared);
  out += '\n';
  out += samples;
}

Registry::Registry() = default;
Registry::~Registry() = default;

Registry::Entry& Registry::Find(std::string_view name, std::string_view help, Declared declared) {
  auto it = entries_.find(name);
  if (it == entries_.end()) {
    it = entries_.emplace(std::string(name), std::make_unique<Entry>()).first;
    it->second->help = std::string(help);
    it->second->declared = declared;
  }
  KVORUM_CHECK(it->second->declared == declared, "metric {} is declared differently", name);
  return *it->second;
}

Counter& Registry::NewCounter(std::string_view name, std::string_view help, Declared declared) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, declared).Get<Counter>(name, [] { return std::make_unique<Counter>(); });
}

Gauge& Registry::NewGauge(std::string_view name, std::string_view help) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, Declared::kGauge).Get<Gauge>(name, [] { return std::make_unique<Gauge>(); });
}

void Registry::NewGaugeCallback(std::string_view name, std::string_view help, std::function<double()> read,
                                Declared declared) {
  absl::MutexLock lock(&mutex_);
  Callback& callback =
      Find(name, help, declared).Get<Callback>(name, [] { return std::make_unique<Callback>(); });
  absl::MutexLock callback_lock(&callback.mutex);
  callback.read = std::move(read);
}

Histogram& Registry::NewHistogram(std::string_view name, std::string_view help, double start, double factor,
                                  size_t buckets) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, Declared::kHistogram).Get<Histogram>(name, [&] {
    return std::make_unique<Histogram>(start, factor, buckets);
  });
}

Family<Counter>& Registry::NewCounterFamily(std::string_view name, std::string_view help,
                                            std::vector<std::string> label_names, Declared declared) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, declared).Get<Family<Counter>>(name, [&] {
    return std::make_unique<Family<Counter>>(std::move(label_names),
                                             [] { return std::make_unique<Counter>(); });
  });
}

Family<Gauge>& Registry::NewGaugeFamily(std::string_view name, std::string_view help,
                                        std::vector<std::string> label_names) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, Declared::kGauge).Get<Family<Gauge>>(name, [&] {
    return std::make_unique<Family<Gauge>>(std::move(label_names), [] { return std::make_unique<Gauge>(); });
  });
}

Family<Histogram>& Registry::NewHistogramFamily(std::string_view name, std::string_view help,
                                                std::vector<std::string> label_names, double start,
                                                double factor, size_t buckets) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, Declared::kHistogram).Get<Family<Histogram>>(name, [&] {
    return std::make_unique<Family<Histogram>>(std::move(label_names), [start, factor, buckets] {
      return std::make_unique<Histogram>(start, factor, buckets);
    });
  });
}

Family<Histogram>& Registry::NewHistogramFamily(std::string_view name, std::string_view help,
                                                std::vector<std::string> label_names,
                                                std::vector<double> bounds) {
  absl::MutexLock lock(&mutex_);
  return Find(name, help, Declared::kHistogram).Get<Family<Histogram>>(name, [&] {
    return std::make_unique<Family<Histogram>>(
        std::move(label_names), [bounds = std::move(bounds)] { return std::make_unique<Histogram>(bounds); });
  });
}

std::string Registry::Text() const {
  // Entries are never removed, and callbacks may use the registry: no lock is held while they run.
  std::vector<std::pair<std::string_view, const Entry*>> entries;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, entry] : entries_) entries.emplace_back(name, entry.get());
  }
  std::string out;
  for (const auto& [name, entry] : entries) entry->AppendTo(out, name);
  return out;
}

}  // namespace kvorum::metrics
