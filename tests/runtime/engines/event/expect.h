// What the tests of operations and kernels share: one comparison that names the place, random
// numbers.
#ifndef SNN_EVENT_EXPECT_H
#define SNN_EVENT_EXPECT_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

// Ends the program unless the numbers are equal.
inline void expect(const char *what, int64_t index, int64_t got, int64_t expected) {
  if (got == expected) return;
  std::fprintf(stderr, "%s [%lld]: %lld, expected %lld\n", what, static_cast<long long>(index),
               static_cast<long long>(got), static_cast<long long>(expected));
  std::_Exit(1);
}

// The same numbers in every run.
class Random {
 public:
  // From `low` to `high`, both included.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  uint64_t bits() { return engine_(); }
  // A mask in which about `eighths` of 8 bits are set.
  uint64_t mask(int eighths) {
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++) mask |= static_cast<uint64_t>(between(0, 7) < eighths) << i;
    return mask;
  }

 private:
  std::mt19937_64 engine_{1};
};

#endif
