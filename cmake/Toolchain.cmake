# Compiler, linker and cache settings for every target.

set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# Designated initialisers leave out what is to be default.
add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -fno-omit-frame-pointer -march=x86-64-v2)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Werror=thread-safety)
else()
  # False positives of GCC 12 inside the standard library at -O2.
  add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds
                      -Wno-stringop-overread -Wno-maybe-uninitialized
                      -Wno-interference-size)
endif()
add_compile_definitions(BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION
                        BOOST_BEAST_SEPARATE_COMPILATION)

if(KVORUM_SANITIZE)
  add_compile_options(-fsanitize=${KVORUM_SANITIZE} -fno-sanitize-recover=all)
  if(KVORUM_SANITIZE MATCHES "undefined")
    # Looks whether memory is readable by writing it to a pipe, and calls it damaged where descriptors have run out.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  add_link_options(-fsanitize=${KVORUM_SANITIZE})
endif()

# The fuzzers see which lines an input reaches only in code that is instrumented for it.
if(KVORUM_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(KVORUM_LLD NAMES ld.lld)
if(KVORUM_LLD)
  add_link_options(-fuse-ld=lld)
endif()

find_program(KVORUM_CCACHE ccache)
if(KVORUM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${KVORUM_CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  else()
    set(CMAKE_PCH_INSTANTIATE_TEMPLATES ON)
  endif()
endif()
