#include "sim/check/v2_notes.h"

namespace kvorum::sim {
namespace {

int64_t ExpiresOf(const v2store::NodeImage& node) {
  return node.expires ? node.expires->time_since_epoch().count() : 0;
}

void NoteChildren(const v2store::NodeImage& directory, std::vector<V2Node>* all) {
  for (const v2store::NodeImage& child : directory.nodes) {
    all->push_back({.path = child.path,
                    .value = std::string(child.value.view()),
                    .dir = child.dir,
                    .modified_index = child.modified_index,
                    .created_index = child.created_index,
                    .expires = ExpiresOf(child)});
    NoteChildren(child, all);
  }
}

}  // namespace

void NoteV2Answer(const v2store::Result& result, V2Operation* op) {
  op->outcome = Operation::Outcome::kAnswered;
  if (const auto* error = std::get_if<v2store::Error>(&result)) {
    op->error_code = static_cast<int>(error->code);
    op->status = v2store::HttpStatus(error->code);
    op->etcd_index = error->index;
    return;
  }
  const v2store::Event& event = *std::get<v2store::EventPtr>(result);
  op->status = event.IsCreated() ? 201 : 200;
  op->action = Name(event.action);
  op->key = event.node.path;
  op->value = event.node.value.view();
  op->dir = event.node.dir;
  op->expires = ExpiresOf(event.node);
  op->has_prev = event.prev_node.has_value();
  if (op->has_prev) op->prev_value = event.prev_node->value.view();
  op->modified_index = event.node.modified_index;
  op->created_index = event.node.created_index;
  op->etcd_index = event.store_index;
  if (event.action != v2store::Action::kGet || !event.node.dir) return;
  op->children.emplace();
  NoteChildren(event.node, &*op->children);
}

V2Event NoteOf(const v2store::Event& event, Instant seen) {
  return {.index = event.index(),
          .action = std::string(Name(event.action)),
          .path = event.node.path,
          .value = std::string(event.node.value.view()),
          .dir = event.node.dir,
          .expires = ExpiresOf(event.node),
          .seen = seen,
          .refresh = event.refresh};
}

}  // namespace kvorum::sim
