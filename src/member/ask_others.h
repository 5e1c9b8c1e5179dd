#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cluster/cluster.h"
#include "member/ports.h"

namespace kvorum::member {

/// What each of the other members answered, or why it did not.
template <typename T>
using Answers = std::map<MemberId, absl::StatusOr<T>>;

/// Asks every other member: `ask(member, done)`, with a PeerCalls::Done<T>. `done` on the apply executor,
/// never inside the call. Nobody is asked where there are no calls.
template <typename T, typename AskOne>
void AskOthers(const cluster::Cluster& cluster, const Ports& ports, AskOne ask,
               absl::AnyInvocable<void(Answers<T>)> done) {
  struct Round {  // on the apply executor
    Answers<T> answers;
    size_t missing = 0;
    absl::AnyInvocable<void(Answers<T>)> done;
  };
  std::vector<cluster::Member> others;
  for (cluster::Member& member : cluster.members()) {
    if (member.id != cluster.local() && ports.calls != nullptr) others.push_back(std::move(member));
  }
  auto round = std::make_shared<Round>();  // shared by the questions
  round->missing = others.size();
  round->done = std::move(done);
  if (others.empty()) return ports.apply_executor->Post([round] { round->done({}); });
  for (const cluster::Member& member : others) {
    ask(member, [round, id = member.id, executor = ports.apply_executor](absl::StatusOr<T> answer) {
      executor->Post([round, id, answer = std::move(answer)]() mutable {
        round->answers.emplace(id, std::move(answer));
        if (--round->missing == 0) round->done(std::move(round->answers));
      });
    });
  }
}

}  // namespace kvorum::member
