// What this core can do at most with 8-bit integers: products of bytes, each added to a 32-bit sum,
// from registers to registers. It is the limit of dense engines, for comparison. This engine's own
// kernels are bound by other things.
//
//   avx512vnni, avxvnni   vpdpbusd                       4 products a 32-bit lane
//   avx512, avx2          vpmaddubsw, vpmaddwd, vpaddd   4 products a lane in three instructions
//   i8mm                  smmla                          8 products a lane
//   dotprod               sdot                           4 products a lane
//   neon                  smull, sadalp                  2 products a lane in two instructions
//
// In assembler, so that no compiler leaves anything out. The 12 sums depend on nothing but their
// own last value, so that the units that multiply are never idle; what is in the registers does not
// matter.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine.h"
#include "processor.h"

namespace {

using namespace snn;

constexpr int64_t kSums = 12, kRepeats = 20'000;
constexpr int kTrials = 40;

struct Way {
  const char *name;
  int64_t products;  // of one step, all lanes
  void (*run)(int64_t repeats);
};

// STEP once for each of the sums; where it says \n stands the number of a sum's register.
#define SNN_FOR_SUMS(STEP) "1:\n.irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n" STEP "\n.endr\n"

#if defined(__x86_64__)

#define SNN_LOOP(STEP)                                                                         \
  asm volatile(SNN_FOR_SUMS(STEP) "sub $1, %0\njnz 1b\nvzeroupper"                             \
               : "+r"(repeats)                                                                 \
               :                                                                               \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

void vnni(int64_t repeats) { SNN_LOOP("vpdpbusd %%zmm0, %%zmm1, %%zmm\\n"); }

// The same of 256 bits in its AVX form, spelt in bytes, as older assemblers do not know it.
void avx_vnni(int64_t repeats) {
  SNN_LOOP(".byte 0xc4, 0xe2 - 0x80 * (\\n >> 3), 0x75, 0x50, 0xc0 + 8 * (\\n & 7)");
}

void avx512(int64_t repeats) {
  SNN_LOOP(
      "vpmaddubsw %%zmm0, %%zmm1, %%zmm2\n"
      "vpmaddwd %%zmm2, %%zmm3, %%zmm2\n"
      "vpaddd %%zmm2, %%zmm\\n, %%zmm\\n");
}

void avx2(int64_t repeats) {
  SNN_LOOP(
      "vpmaddubsw %%ymm0, %%ymm1, %%ymm2\n"
      "vpmaddwd %%ymm2, %%ymm3, %%ymm2\n"
      "vpaddd %%ymm2, %%ymm\\n, %%ymm\\n");
}

std::vector<Way> ways() {
  std::vector<Way> found;
  if (has_avx512_vnni()) found.push_back({"avx512vnni", 64, vnni});
  if (has_avx512()) found.push_back({"avx512", 64, avx512});
  if (has_avx_vnni()) found.push_back({"avxvnni", 32, avx_vnni});
  if (has_avx2()) found.push_back({"avx2", 32, avx2});
  return found;
}

#elif defined(__aarch64__) && defined(__linux__)

#define SNN_LOOP(STEP)                                                                            \
  asm volatile(SNN_FOR_SUMS(STEP) "subs %0, %0, #1\nb.ne 1b"                                      \
               : "+r"(repeats)                                                                    \
               :                                                                                  \
               : "cc", "v0", "v1", "v2", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", \
                 "v13", "v14", "v15")

// smmla v\n.4s, v0.16b, v1.16b, as a number: assemblers know it for newer processors only.
void i8mm(int64_t repeats) { SNN_LOOP(".inst 0x4e81a400 + \\n"); }

// sdot v\n.4s, v0.16b, v1.16b
void dotprod(int64_t repeats) { SNN_LOOP(".inst 0x4e819400 + \\n"); }

void neon(int64_t repeats) {
  SNN_LOOP(
      "smull v2.8h, v0.8b, v1.8b\n"
      "sadalp v\\n\\().4s, v2.8h");
}

std::vector<Way> ways() {
  std::vector<Way> found;
  if (has_i8mm()) found.push_back({"i8mm", 32, i8mm});
  if (has_dot_product()) found.push_back({"dotprod", 16, dotprod});
  found.push_back({"neon", 8, neon});
  return found;
}

#else

std::vector<Way> ways() { return {}; }

#endif

double products_per_ns(const Way &way) {
  double best = 0;
  for (int trial = 0; trial < kTrials; trial++) {
    const auto start = std::chrono::steady_clock::now();
    way.run(kRepeats);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kRepeats * kSums * way.products) / took.count());
  }
  return best;
}

}  // namespace

double snn_event_peak(const char **instructions) {
  double best = 0;
  *instructions = "";
  for (const Way &way : ways()) {
    const double rate = products_per_ns(way);
    if (rate <= best) continue;
    best = rate;
    *instructions = way.name;
  }
  return best;
}
