#include "base/recycled.h"

#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace kvorum {
namespace {

struct Plain final : Recycled<Plain> {
  char text[40] = {};
};

TEST(Recycled, GivesDistinctMemoryToObjectsThatLive) {
  std::vector<std::unique_ptr<Plain>> objects;
  std::set<Plain*> seen;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 2 * KeptMemory<sizeof(Plain)>::kKept + 10; ++i) {
      objects.push_back(std::make_unique<Plain>());
      objects.back()->text[39] = static_cast<char>(i);
      EXPECT_TRUE(seen.insert(objects.back().get()).second);
    }
    objects.clear();
    seen.clear();
  }
}

#if KVORUM_KEEPS_MEMORY
TEST(Recycled, KeepsMemoryForTheNext) {
  auto object = std::make_unique<Plain>();
  const void* const memory = object.get();
  object.reset();
  object = std::make_unique<Plain>();
  EXPECT_EQ(object.get(), memory);
}
#endif

TEST(Recycled, MemoryMayBeFreedByAnotherThread) {
  std::vector<std::shared_ptr<Plain>> objects;
  for (int i = 0; i < 1000; ++i) {
    objects.push_back(std::allocate_shared<Plain>(RecyclingAllocator<Plain>()));
  }
  std::thread([&objects] { objects.clear(); }).join();
  std::thread([&objects] {
    for (int i = 0; i < 10; ++i) objects.push_back(std::allocate_shared<Plain>(RecyclingAllocator<Plain>()));
  }).join();
  for (const auto& object : objects) object->text[0] = 'x';  // outlives the thread that made it
}

/// Frees an object when its thread ends, later than the thread's list: thread_locals go in reverse.
struct Last {
  ~Last() { object.reset(); }
  std::unique_ptr<Plain> object;
};

TEST(Recycled, MemoryMayBeFreedWhenItsThreadEnds) {
  std::thread([] {
    thread_local Last last;
    last.object = std::make_unique<Plain>();
    std::make_unique<Plain>().reset();  // makes the list
  }).join();
}

}  // namespace
}  // namespace kvorum
