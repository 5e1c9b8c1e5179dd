# Libraries from the system, each as an imported target.

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(Protobuf REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(yaml-cpp REQUIRED)
find_package(ZLIB REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(LIBCRYPT REQUIRED IMPORTED_TARGET libcrypt)

foreach(lib lmdb isal)
  find_library(KVORUM_LIB_${lib} ${lib} REQUIRED)
  add_library(${lib} INTERFACE IMPORTED)
  target_link_libraries(${lib} INTERFACE ${KVORUM_LIB_${lib}})
endforeach()

if(KVORUM_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  find_package(benchmark REQUIRED)
  include(GoogleTest)
endif()
