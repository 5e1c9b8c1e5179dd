# Functions that make the targets of the house.

include(Floors)

# Headers that nearly every file uses, compiled once.
add_library(kvorum_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(kvorum_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
target_include_directories(kvorum_pch PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/gen)
target_link_libraries(kvorum_pch PUBLIC absl::status absl::statusor absl::strings absl::synchronization
                      absl::flat_hash_map absl::btree fmt::fmt Threads::Threads)

# The same for tests, with what every test uses besides. Tests are compiled without optimization, which takes half the
# time; what they test is optimized.
if(KVORUM_TESTS)
  add_library(kvorum_test_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
  target_precompile_headers(kvorum_test_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h <gtest/gtest.h>)
  target_link_libraries(kvorum_test_pch PUBLIC kvorum_pch GTest::gtest GTest::gmock rapidcheck)
  target_compile_options(kvorum_test_pch PUBLIC -O0)
  if(KVORUM_SANITIZE MATCHES "undefined")
    target_compile_options(kvorum_test_pch PUBLIC -fno-sanitize=undefined)
  endif()
endif()

# kvorum_library(NAME SRCS… USES folders… LIBS system libraries… TESTS foo_test.cc… TEST_LIBS …)
# The library of one folder of src/ (target kvorum_NAME), and one program with the tests beside it (NAME_test).
function(kvorum_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;USES;LIBS;TESTS;TEST_LIBS" ${ARGN})
  foreach(use ${ARG_USES})
    if(NOT use IN_LIST KVORUM_USES_${name})
      message(FATAL_ERROR "src/${name} may not use src/${use}: see cmake/Floors.cmake")
    endif()
  endforeach()
  list(TRANSFORM ARG_USES PREPEND kvorum_)
  add_library(kvorum_${name} STATIC ${ARG_SRCS})
  target_precompile_headers(kvorum_${name} REUSE_FROM kvorum_pch)
  target_include_directories(kvorum_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/gen)
  target_link_libraries(kvorum_${name} PUBLIC kvorum_pch ${ARG_USES} ${ARG_LIBS})
  if(KVORUM_TESTS AND ARG_TESTS)
    kvorum_test(${name}_test SRCS ${ARG_TESTS} LIBS kvorum_${name} ${ARG_TEST_LIBS})
  endif()
endfunction()

# kvorum_test(NAME SRCS… LIBS… [TIMEOUT seconds]): a GoogleTest program, each of its tests known to ctest.
function(kvorum_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_precompile_headers(${name} REUSE_FROM kvorum_test_pch)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} kvorum_test_pch GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

# kvorum_program(NAME SRCS… LIBS…): an executable in bin/.
function(kvorum_program name)
  cmake_parse_arguments(ARG "" "" "SRCS;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_precompile_headers(${name} REUSE_FROM kvorum_pch)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} kvorum_pch)
endfunction()

# kvorum_fuzzer(NAME SRCS… LIBS… CORPUS folder): a libFuzzer program, and a ctest that runs its corpus and then
# looks further for a few seconds.
function(kvorum_fuzzer name)
  if(NOT KVORUM_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "CORPUS" "SRCS;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_precompile_headers(${name} REUSE_FROM kvorum_pch)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} kvorum_pch)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz/${name})
  add_test(NAME fuzz.${name}
           COMMAND ${name} -max_total_time=5 -timeout=10 -rss_limit_mb=2048 -print_final_stats=0
                   ${CMAKE_BINARY_DIR}/fuzz/${name} ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 120)
endfunction()
