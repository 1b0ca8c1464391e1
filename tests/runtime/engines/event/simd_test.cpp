// Every vector operation of one instruction set (SNN_ISA) against scalar code: extremes, all lanes,
// sums at the limits of their lanes.
#include <limits>
#include <vector>

#include "expect.h"
#include "kernels.h"
#include "simd-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

constexpr Kernels kLayout = {"",
                             kVectorBytes,
                             kMaxTileWidth,
                             kRollWidth4,
                             kRollWidth8,
                             kRollMinSide4,
                             kRollMinSide8,
                             false,
                             kInterleaved,
                             ByteProducts::kMaxSum,
                             ByteProducts::kBias,
                             nullptr,
                             nullptr,
                             nullptr,
                             nullptr,
                             nullptr,
                             nullptr};
constexpr uint32_t kUntouched = 0xdeadbeef;

// Every pair of extremes in every lane, once beside lanes that all exceed and once beside none.
template <typename Vector, typename Lane>
void test_greater_mask(const char *what) {
  constexpr int kLanes = sizeof(Vector) / sizeof(Lane);
  using Limits = std::numeric_limits<Lane>;
  const Lane ends[] = {Limits::min(), Limits::min() + 1, -256,         -1, 0, 1, 255,
                       256,           Limits::max() - 1, Limits::max()};
  for (const Lane left : ends) {
    for (const Lane right : ends) {
      for (int lane = 0; lane < kLanes; lane++) {
        for (const Lane others : {Lane{0}, Lane{1}}) {
          Lane a[kLanes], b[kLanes];
          uint64_t expected = 0;
          for (int i = 0; i < kLanes; i++) {
            a[i] = i == lane ? left : others;
            b[i] = i == lane ? right : Lane{0};
            expected |= static_cast<uint64_t>(a[i] > b[i]) << i;
          }
          const uint64_t got = greater_mask(load<Vector>(a), load<Vector>(b));
          expect(what, lane, static_cast<int64_t>(got), static_cast<int64_t>(expected));
        }
      }
    }
  }
}

// One weight at a time in every lane and place, the others random, with bytes at their extremes. Sums
// of bytes in 16 bits take what fits: pairs of weights that the bound of choose_products allows.
template <class Products>
void test_products(const char *what, Random &random, int64_t weight_limit) {
  using Element = typename Products::Element;
  constexpr int kElements = 4 / sizeof(Element);
  for (int place = 0; place < kLanes32 * kElements; place++) {
    for (const int64_t weight : {-weight_limit - 1, -weight_limit, int64_t{-1}, int64_t{0},
                                 int64_t{1}, weight_limit - 1, weight_limit}) {
      for (const int64_t byte : {0, 1, 127, 128, 254, 255}) {
        Element weights[kLanes32 * kElements], inputs[kElements];
        int32_t initial[kLanes32];
        int64_t expected[kLanes32];
        for (Element &input : inputs) input = static_cast<Element>(byte - Products::kBias);
        inputs[random.between(0, kElements - 1)] =
            static_cast<Element>(random.between(0, 255) - Products::kBias);
        int32_t packed = 0;
        memcpy(&packed, inputs, sizeof packed);
        for (int i = 0; i < kLanes32; i++) {
          initial[i] = static_cast<int32_t>(random.between(-(1 << 30), 1 << 30));
          expected[i] = initial[i];
          for (int j = 0; j < kElements; j++) {
            const int at = i * kElements + j;
            const int64_t own =
                at == place ? weight : random.between(-weight_limit - 1, weight_limit);
            weights[at] = static_cast<Element>(own);
            expected[i] += own * inputs[j];
          }
        }
        const VecI32 sum = Products::add(VecI32{}, load<VecI32>(weights), VecI32{} + packed);
        store(initial, Products::total(load<VecI32>(initial), sum));
        for (int i = 0; i < kLanes32; i++) expect(what, i, initial[i], expected[i]);
      }
    }
  }
}

void test_nonnegative_mask(Random &random) {
  const int32_t ends[] = {INT32_MIN, INT32_MIN + 1, -65536, -32769, -129, -1, 0, 1, 255, INT32_MAX};
  for (int round = 0; round < 1000; round++) {
    int32_t numbers[kVectorBytes];
    uint64_t expected = 0;
    for (int i = 0; i < kVectorBytes; i++) {
      numbers[i] = ends[random.between(0, 9)];
      expected |= static_cast<uint64_t>(numbers[i] >= 0) << i;
    }
    VecI32 sums[4];
    memcpy(sums, numbers, sizeof sums);
    const uint64_t own = kVectorBytes == 64 ? ~uint64_t{0} : (uint64_t{1} << kVectorBytes % 64) - 1;
    expect("nonnegative_mask", round, static_cast<int64_t>(nonnegative_mask(sums) & own),
           static_cast<int64_t>(expected));
  }
}

void check_append(const std::vector<uint64_t> &mask, uint32_t base) {
  constexpr int64_t kBefore = 4, kTooFar = 16, kAfter = 8;
  std::vector<uint32_t> expected;
  const int64_t words = static_cast<int64_t>(mask.size());
  for (int64_t i = 0; i < 64 * words; i++) {
    if (mask[i / 64] >> (i % 64) & 1) expected.push_back(base + static_cast<uint32_t>(i));
  }
  const int64_t count = static_cast<int64_t>(expected.size());
  std::vector<uint32_t> list(kBefore + count + kTooFar + kAfter, kUntouched);
  uint32_t *const to = list.data() + kBefore;
  expect("append_set_bits, count", words, append_set_bits(to, mask.data(), words, base) - to,
         count);
  for (int64_t i = 0; i < count; i++) expect("append_set_bits", i, to[i], expected[i]);
  for (int64_t i = 0; i < kBefore; i++) expect("before the list", i, list[i], kUntouched);
  for (int64_t i = 0; i < kAfter; i++) expect("too far", i, to[count + kTooFar + i], kUntouched);
}

void test_append_set_bits(Random &random) {
  for (int64_t words = 1; words <= 9; words++) {
    std::vector<uint64_t> mask(words);
    check_append(mask, 5);
    for (int64_t bit = 0; bit < 64 * words; bit++) {  // alone, and alone not
      mask.assign(words, 0);
      mask[bit / 64] = uint64_t{1} << (bit % 64);
      check_append(mask, 0);
      for (uint64_t &word : mask) word = ~word;
      check_append(mask, 1U << 31);
    }
    check_append(std::vector<uint64_t>(words, ~uint64_t{0}), 0);
    for (int eighths = 1; eighths < 8; eighths++) {
      for (uint64_t &word : mask) word = random.mask(eighths);
      check_append(mask, static_cast<uint32_t>(random.bits()) >> 4);
    }
  }
}

// Weight rows as Packer lays them out.
template <class Acc, int Bits>
class Rows {
 public:
  explicit Rows(int64_t count) : bytes_(static_cast<size_t>(count * Acc::kRowBytes)) {}
  const int8_t *row(int64_t r) const { return bytes_.get() + r * Acc::kRowBytes; }
  void set(int64_t r, int64_t channel, int64_t weight) {
    int8_t *const row = bytes_.get() + r * Acc::kRowBytes;
    if (Bits == 8) {
      row[lane_offset(kLayout, channel)] =
          static_cast<int8_t>(weight + even_lane_bias(kLayout, channel));
      return;
    }
    const NibbleOffset at = nibble_offset(kLayout, channel);
    const int64_t rest = row[at.byte] & ~(15 << at.shift);
    row[at.byte] = static_cast<int8_t>(rest | (weight + 8) << at.shift);
  }

 private:
  Array<int8_t> bytes_;
};

// Adds `count` rows, in turn those of `rows`, and compares with `expected` sums.
template <class Acc, int Bits>
void check_sums(const char *what, const Rows<Acc, Bits> &rows, int64_t different, int64_t count,
                const std::vector<int64_t> &expected) {
  Acc sum;
  int64_t since = 0;
  for (int64_t r = 0; r < count; r++, since++) {
    if (since == Acc::kRowsBeforeWidening) {
      sum.widen(since);
      since = 0;
    }
    sum.add(rows.row(r % different));
  }
  VecI16 vectors[2 * Acc::kWidth / kVectorBytes];
  sum.finish(since, vectors);
  int16_t sums[Acc::kWidth];
  memcpy(sums, vectors, sizeof sums);
  for (int c = 0; c < Acc::kWidth; c++) expect(what, c, sums[c], expected[c]);
}

template <class Acc, int Bits>
void test_accumulator(const char *what, Random &random) {
  constexpr int64_t kLow = Bits == 8 ? -128 : -8, kHigh = -kLow - 1;
  // Each channel alone at one extreme and all others at the other.
  for (const int64_t count : {0, 1, 2, 15, 16, 17, 32, 33}) {
    for (int channel = 0; channel < Acc::kWidth; channel++) {
      const int64_t alone = channel % 2 ? kLow : kHigh, others = kLow + kHigh - alone;
      Rows<Acc, Bits> rows(1);
      std::vector<int64_t> expected(Acc::kWidth, count * others);
      for (int c = 0; c < Acc::kWidth; c++) rows.set(0, c, c == channel ? alone : others);
      expected[channel] = count * alone;
      check_sums(what, rows, 1, count, expected);
    }
  }
  // As many rows as 16 bits hold.
  for (const int64_t weight : {kLow, kHigh}) {
    const int64_t count = weight < 0 ? INT16_MIN / weight : INT16_MAX / weight;
    Rows<Acc, Bits> rows(1);
    for (int c = 0; c < Acc::kWidth; c++) rows.set(0, c, weight);
    check_sums(what, rows, 1, count, std::vector<int64_t>(Acc::kWidth, count * weight));
  }
  for (int64_t count = 1; count < 60; count++) {
    Rows<Acc, Bits> rows(count);
    std::vector<int64_t> expected(Acc::kWidth);
    for (int64_t r = 0; r < count; r++) {
      for (int c = 0; c < Acc::kWidth; c++) {
        const int64_t weight = random.between(kLow, kHigh);
        rows.set(r, c, weight);
        expected[c] += weight;
      }
    }
    check_sums(what, rows, count, count, expected);
  }
}

// All tiles that kernels_test and the engine may meet.
template <int Width>
void test_accumulators(Random &random) {
  if constexpr (Width <= kMaxTileWidth) {
    if constexpr (Width >= kVectorBytes) {
      test_accumulator<Accumulator8<Width / kVectorBytes>, 8>("Accumulator8", random);
    }
    if constexpr (Width >= 2 * kVectorBytes) {
      test_accumulator<Accumulator4<Width / kVectorBytes / 2>, 4>("Accumulator4", random);
    }
    test_accumulators<2 * Width>(random);
  }
}

void test_all() {
  Random random;
  test_greater_mask<VecI16, int16_t>("greater_mask of 16 bits");
  test_greater_mask<VecI32, int32_t>("greater_mask of 32 bits");
  test_products<WordProducts>("WordProducts", random, 127);
  if constexpr (ByteProducts::kMaxSum > 0) {
    test_products<ByteProducts>("ByteProducts", random,
                                ByteProducts::kMaxSum > INT16_MAX ? 127 : 63);
  }
  test_nonnegative_mask(random);
  test_append_set_bits(random);
  test_accumulators<64>(random);
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn

int main() {
  snn::SNN_ISA::test_all();
  std::puts("all operations agree");
}
