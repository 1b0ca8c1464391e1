// The currents of pictures, a few at a time: for every pixel the rows of weights that the spikes in
// its window select.
#ifndef SNN_TRAIN_CURRENTS_H
#define SNN_TRAIN_CURRENTS_H

#include <algorithm>
#include <cstdint>

#include "memory.h"
#include "rows.h"
#include "shape.h"

namespace snn {

// weights (O, taps, C) to (block, taps, C, of the block)
template <typename T>
Memory<T> pack(const Shape &shape, const float *weights, int threads) {
  const Blocks blocks(shape.outputs);
  const int64_t rows = shape.taps() * shape.inputs;
  Memory<T> packed(rows * shape.outputs);
  in_parallel(threads, [&](int part) {
    const int64_t begin = rows * part / threads, end = rows * (part + 1) / threads;
    for (int block = 0; block < blocks.count; block++) {
      const int first = blocks.begin(block), width = blocks.groups_of(block) * kGroup;
      transpose(weights + first * rows + begin, rows, packed.data() + rows * first + begin * width,
                width, width, end - begin, [](float number, T *to) { store(number, to); });
    }
  });
  return packed;
}

template <typename T>
class Currents {
 public:
  Currents(const Shape &shape, const T *packed)
      : shape_(shape),
        packed_(packed),
        blocks_(shape.outputs),
        widest_(blocks_.most * kGroup),
        at_once_(std::max<int64_t>(1, kSumBytes / (int64_t{4} * shape.out_pixels() * widest_))),
        first_(at_once_ * shape.pixels() + 1),
        events_(at_once_ * shape.pixels() * shape.inputs),
        sums_(at_once_ * shape.out_pixels() * widest_),
        segments_(shape.kernel_height) {
    const int64_t line = int64_t{shape.kernel_width} * shape.inputs * widest_ * sizeof(T);
    lines_ = static_cast<int>(std::clamp<int64_t>(kWeightBytes / line, 1, shape.kernel_height));
  }

  // Pictures [begin, end).
  template <typename Out>
  void run(const T *spikes, Out *currents, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += at_once_) {
      const int64_t count = std::min(at_once_, end - n);
      list(spikes + n * shape_.pixels() * shape_.inputs, count);
      for (int block = 0; block < blocks_.count; block++) {
        const int width = blocks_.groups_of(block) * kGroup;
        const int64_t pixels = count * shape_.out_pixels();
        std::fill_n(sums_.data(), pixels * width, 0.0f);
        for (int line = 0; line < shape_.kernel_height; line += lines_) add(block, count, line);
        Out *to = currents + n * shape_.out_pixels() * shape_.outputs + blocks_.begin(block);
        for (int64_t i = 0; i < pixels; i++, to += shape_.outputs) {
          for (int g = 0; g < width; g += kGroup) store_group<T>(&sums_[i * width + g], to + g);
        }
      }
    }
  }

 private:
  static constexpr int64_t kWeightBytes = 640 << 10;  // that a core keeps near while it reads
  static constexpr int64_t kSumBytes = 128 << 10;     // beside them

  // Events name (column, channel): a window's are next to each other, a line at a time.
  void list(const T *spikes, int64_t count) {
    Event *event = events_.data();
    const int64_t pixels = count * shape_.pixels();
    for (int64_t i = 0; i < pixels; i++, spikes += shape_.inputs) {
      first_[i] = static_cast<uint32_t>(event - events_.data());
      const auto row = static_cast<uint32_t>(i % shape_.width * shape_.inputs);
      each_event(spikes, shape_.inputs, [&](int c) { *event++ = {row + c, value(spikes[c])}; });
    }
    first_[pixels] = static_cast<uint32_t>(event - events_.data());
  }

  // Adds what lines [first, first + lines_) of every window contribute.
  void add(int block, int64_t count, int first) {
    const AddRows<T> add_to = add_rows_of<T>(blocks_.groups_of(block));
    const int64_t width = blocks_.groups_of(block) * kGroup, column = shape_.inputs * width;
    const T *weights = packed_ + blocks_.begin(block) * shape_.taps() * shape_.inputs;
    const int last = std::min(first + lines_, shape_.kernel_height);
    float *sums = sums_.data();
    for (int64_t n = 0; n < count; n++) {
      for (int y = 0; y < shape_.out_height; y++) {
        for (int x = 0; x < shape_.out_width; x++, sums += width) {
          const int64_t left = int64_t{x} * shape_.stride_x - shape_.padding_x;
          const int64_t begin = std::max<int64_t>(left, 0);
          const int64_t end = std::min<int64_t>(left + shape_.kernel_width, shape_.width);
          Segment<T> *found = segments_.data();
          for (int k = first; k < last && begin < end; k++) {
            const int64_t from = int64_t{y} * shape_.stride_y - shape_.padding_y + k;
            if (from < 0 || from >= shape_.height) continue;
            const uint32_t *at = &first_[(n * shape_.height + from) * shape_.width];
            *found++ = {weights + (int64_t{k} * shape_.kernel_width - left) * column,
                        events_.data() + at[begin], events_.data() + at[end]};
          }
          add_to(segments_.data(), found, width, sums);
        }
      }
    }
  }

  const Shape &shape_;
  const T *packed_;
  Blocks blocks_;
  int widest_, lines_ = 1;
  int64_t at_once_;
  Memory<uint32_t> first_;  // of a pixel's events
  Memory<Event> events_;
  Memory<float> sums_;
  Memory<Segment<T>> segments_;
};

}  // namespace snn

#endif
