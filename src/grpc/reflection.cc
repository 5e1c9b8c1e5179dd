#include <set>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/descriptor_database.h"
#include "grpc/server.h"
#include "proto/reflection_v1.pb.h"
#include "proto/reflection_v1alpha.pb.h"

namespace kvorum::grpc {

namespace {

namespace v1 = ::grpc::reflection::v1;
namespace v1alpha = ::grpc::reflection::v1alpha;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

struct V1 {
  using Request = v1::ServerReflectionRequest;
  using Response = v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Request = v1alpha::ServerReflectionRequest;
  using Response = v1alpha::ServerReflectionResponse;
};

/// Answers one ServerReflectionInfo call; `Version` has the message types, which are alike.
template <typename Version>
class ReflectionHandler final : public StreamHandler {
 public:
  ReflectionHandler(const Server& server, StreamWriter& writer) : server_(server), writer_(writer) {}

  void OnMessage(std::string_view message) override {
    typename Version::Request request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return writer_.Finish(absl::InternalError("grpc: error unmarshalling request: malformed message"));
    }
    typename Version::Response response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    if (!Answer(request, &response)) {
      return writer_.Finish(absl::InvalidArgumentError("invalid MessageRequest: no request is set"));
    }
    writer_.Send({response.SerializeAsString(), {}});
  }
  void OnHalfClose() override { writer_.Finish(absl::OkStatus()); }
  void OnCancel() override {}

 private:
  using Request = typename Version::Request;
  using Response = typename Version::Response;

  bool Answer(const Request& request, Response* response) {
    const DescriptorPool* pool = DescriptorPool::generated_pool();
    switch (request.message_request_case()) {
      case Request::kListServices:
        for (const std::string& name : server_.services()) {
          response->mutable_list_services_response()->add_service()->set_name(name);
        }
        return true;
      case Request::kFileByFilename:
        AddFile(pool->FindFileByName(request.file_by_filename()), request.file_by_filename(), response);
        return true;
      case Request::kFileContainingSymbol:
        AddFile(pool->FindFileContainingSymbol(request.file_containing_symbol()),
                request.file_containing_symbol(), response);
        return true;
      case Request::kFileContainingExtension: {
        const auto& wanted = request.file_containing_extension();
        const auto* type = pool->FindMessageTypeByName(wanted.containing_type());
        const auto* extension =
            type == nullptr ? nullptr : pool->FindExtensionByNumber(type, wanted.extension_number());
        AddFile(extension == nullptr ? nullptr : extension->file(), wanted.containing_type(), response);
        return true;
      }
      case Request::kAllExtensionNumbersOfType:
        AddExtensions(pool, request.all_extension_numbers_of_type(), response);
        return true;
      case Request::MESSAGE_REQUEST_NOT_SET:
        return false;
    }
    return false;
  }

  static void AddExtensions(const DescriptorPool* pool, const std::string& name, Response* response) {
    const auto* type = pool->FindMessageTypeByName(name);
    if (type == nullptr) return SetNotFound(name, response);
    auto* numbers = response->mutable_all_extension_numbers_response();
    numbers->set_base_type_name(name);
    std::vector<const google::protobuf::FieldDescriptor*> extensions;
    pool->FindAllExtensions(type, &extensions);
    for (const auto* extension : extensions) numbers->add_extension_number(extension->number());
  }

  /// The file and everything it imports that this call has not sent yet, the file first.
  void AddFile(const FileDescriptor* file, const std::string& name, Response* response) {
    if (file == nullptr) return SetNotFound(name, response);
    std::vector<const FileDescriptor*> todo{file};
    std::set<const FileDescriptor*> added{file};
    while (!todo.empty()) {
      const FileDescriptor* next = todo.back();
      todo.pop_back();
      google::protobuf::FileDescriptorProto proto;
      next->CopyTo(&proto);
      response->mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
      sent_.insert(next);
      for (int i = 0; i < next->dependency_count(); ++i) {
        const FileDescriptor* import = next->dependency(i);
        if (!sent_.contains(import) && added.insert(import).second) todo.push_back(import);
      }
    }
  }

  static void SetNotFound(const std::string& name, Response* response) {
    auto* error = response->mutable_error_response();
    error->set_error_code(static_cast<int>(absl::StatusCode::kNotFound));
    error->set_error_message("not found: " + name);
  }

  const Server& server_;
  StreamWriter& writer_;
  std::set<const FileDescriptor*> sent_;
};

}  // namespace

void AddReflection(Server* server) {
  server->AddStream(
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", MethodKind::kBidiStream,
      [server](StreamWriter& writer) { return std::make_unique<ReflectionHandler<V1>>(*server, writer); });
  server->AddStream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", MethodKind::kBidiStream,
                    [server](StreamWriter& writer) {
                      return std::make_unique<ReflectionHandler<V1Alpha>>(*server, writer);
                    });
}

}  // namespace kvorum::grpc
