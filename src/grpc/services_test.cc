#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/descriptor.pb.h"
#include "grpc/test_service.h"
#include "proto/health.pb.h"
#include "proto/reflection_v1.pb.h"
#include "proto/reflection_v1alpha.pb.h"

namespace kvorum::grpc {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using ::grpc::health::v1::HealthListResponse;
using ::testing::Contains;

HealthCheckResponse::ServingStatus StateIn(const std::string& message) {
  HealthCheckResponse response;
  EXPECT_TRUE(response.ParseFromString(message));
  return response.status();
}

std::string CheckRequest(const std::string& service) {
  HealthCheckRequest request;
  request.set_service(service);
  return request.SerializeAsString();
}

TEST(GrpcHealth, ReportsTheServersState) {
  TestServer server;
  auto reply = server.Unary("/grpc.health.v1.Health/Check", CheckRequest(""));
  ASSERT_TRUE(reply.status.ok()) << reply.status;
  EXPECT_EQ(StateIn(reply.messages[0]), HealthCheckResponse::SERVING);
  server.health.SetServing(false);
  reply = server.Unary("/grpc.health.v1.Health/Check", CheckRequest(""));
  EXPECT_EQ(StateIn(reply.messages[0]), HealthCheckResponse::NOT_SERVING);
}

TEST(GrpcHealth, KnowsOneService) {
  TestServer server;
  EXPECT_EQ(server.Unary("/grpc.health.v1.Health/Check", CheckRequest("other")).status,
            absl::NotFoundError("unknown service"));
  const auto reply = server.Unary("/grpc.health.v1.Health/List", "");
  HealthListResponse list;
  ASSERT_TRUE(list.ParseFromString(reply.messages[0]));
  ASSERT_EQ(list.statuses_size(), 1);
  EXPECT_EQ(list.statuses().at("").status(), HealthCheckResponse::SERVING);
}

TEST(GrpcHealth, RefusesAMalformedRequest) {
  TestServer server;
  EXPECT_EQ(server.Unary("/grpc.health.v1.Health/Check", "\xff").status.code(), absl::StatusCode::kInternal);
}

TEST(GrpcHealth, WatchersSeeEveryChange) {
  TestServer server;
  std::vector<HealthCheckResponse::ServingStatus> seen;
  std::unique_ptr<ClientConnection::Stream> stream;
  server.RunOnClientUntil([&](absl::Notification* done) {
    ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [&, done](std::string_view message) {
      seen.push_back(StateIn(std::string(message)));
      if (seen.size() == 1) server.health.SetServing(false);
      if (seen.size() == 2) server.health.SetServing(true);
      if (seen.size() == 3) done->Notify();
    };
    callbacks.on_end = [](const absl::Status&) {};
    stream = server.connection->OpenStream("/grpc.health.v1.Health/Watch", std::move(callbacks));
    stream->Send(CheckRequest(""));
    stream->HalfClose();
  });
  RunOn(server.client_loop, [&] { stream.reset(); });
  EXPECT_EQ(seen, (std::vector{HealthCheckResponse::SERVING, HealthCheckResponse::NOT_SERVING,
                               HealthCheckResponse::SERVING}));
}

template <typename Types>
class GrpcReflection : public ::testing::Test {};

struct V1 {
  using Request = ::grpc::reflection::v1::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1::ServerReflectionResponse;
  static constexpr const char* kMethod = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
};
struct V1Alpha {
  using Request = ::grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1alpha::ServerReflectionResponse;
  static constexpr const char* kMethod = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
};
using Versions = ::testing::Types<V1, V1Alpha>;
TYPED_TEST_SUITE(GrpcReflection, Versions);

template <typename Types>
std::vector<typename Types::Response> Ask(const std::vector<typename Types::Request>& requests) {
  TestServer server;
  std::vector<std::string> messages;
  for (const auto& request : requests) messages.push_back(request.SerializeAsString());
  const auto reply = server.Stream(Types::kMethod, messages);
  EXPECT_TRUE(reply.status.ok()) << reply.status;
  std::vector<typename Types::Response> responses(reply.messages.size());
  for (size_t i = 0; i < responses.size(); ++i) EXPECT_TRUE(responses[i].ParseFromString(reply.messages[i]));
  return responses;
}

TYPED_TEST(GrpcReflection, ListsServices) {
  typename TypeParam::Request request;
  request.set_list_services("");
  std::vector<std::string> names;
  const auto responses = Ask<TypeParam>({request});
  for (const auto& service : responses[0].list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                             "grpc.reflection.v1alpha.ServerReflection", "test.Echo"}));
}

TYPED_TEST(GrpcReflection, GivesFilesWithTheirImportsOnce) {
  typename TypeParam::Request by_symbol;
  by_symbol.set_file_containing_symbol("grpc.health.v1.Health.Check");
  typename TypeParam::Request by_name;
  by_name.set_file_by_filename("proto/health.proto");
  const auto responses = Ask<TypeParam>({by_symbol, by_name});
  for (const auto& response : responses) {
    ASSERT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 1);
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
    EXPECT_EQ(file.package(), "grpc.health.v1");
  }
}

TYPED_TEST(GrpcReflection, SaysWhatItDoesNotFind) {
  typename TypeParam::Request unknown;
  unknown.set_file_containing_symbol("no.such.Thing");
  typename TypeParam::Request extension;
  extension.set_all_extension_numbers_of_type("no.such.Type");
  for (const auto& response : Ask<TypeParam>({unknown, extension})) {
    EXPECT_EQ(response.error_response().error_code(), 5);
  }
}

}  // namespace
}  // namespace kvorum::grpc
