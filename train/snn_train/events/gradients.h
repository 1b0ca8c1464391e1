// The gradients of the weights of some sending channels: for every weight the rows of currents'
// gradients that the spikes of its channel select.
#ifndef SNN_TRAIN_GRADIENTS_H
#define SNN_TRAIN_GRADIENTS_H

#include <algorithm>
#include <cstdint>

#include "memory.h"
#include "rows.h"
#include "shape.h"

namespace snn {

// A spike, and the pixel whose window it would be the first of, were there no stride.
struct Place {
  uint32_t pixel;
  uint16_t y, x;
  float value;
};

// Writes those places as events of rows that are still inside y lines and x columns before them;
// returns their end. A function of its own, since compilers run out of registers around it.
[[gnu::noinline]] inline Event *inside(const Place *place, const Place *last, const Shape &shape,
                                       uint32_t y, uint32_t x, Event *event) {
  const uint32_t height = shape.out_height, width = shape.out_width, back = y * width + x;
  for (; place != last; place++) {  // differences wrap round where a window is outside
    *event = {place->pixel - back, place->value};
    event += (place->y - y < height) & (place->x - x < width);
  }
  return event;
}

template <typename T>
class Gradients {
 public:
  // Of channels [begin, end).
  Gradients(const Shape &shape, int64_t begin, int64_t end)
      : shape_(shape),
        blocks_(shape.outputs),
        begin_(begin),
        channels_(static_cast<int>(end - begin)),
        phases_(shape.stride_y * shape.stride_x),
        at_once_(std::clamp<int64_t>(
            kGradientBytes / (int64_t{sizeof(T)} * shape.out_pixels() * shape.outputs), 1,
            shape.pictures)),
        ends_(int64_t{channels_} * phases_ + 1),
        sums_(shape.taps() * channels_ * shape.outputs) {
    std::fill_n(sums_.data(), shape.taps() * channels_ * shape.outputs, 0.0f);
  }

  void run(const T *spikes, const T *gradients, float *result) {
    for (int64_t n = 0; n < shape_.pictures; n += at_once_) {
      list(spikes + n * shape_.pixels() * shape_.inputs + begin_,
           std::min(at_once_, shape_.pictures - n));
      for (int c = 0; c < channels_; c++)
        for (int tap = 0; tap < shape_.taps(); tap++)
          add(c, tap, gradients + n * shape_.out_pixels() * shape_.outputs);
    }
    unpack(result);
  }

 private:
  static constexpr int64_t kGradientBytes = 384 << 10;  // that a core keeps near while it adds

  // Sorts what some pictures send by channel. With strides a tap meets one phase of lines and
  // columns, so each phase has a list of its own.
  void list(const T *spikes, int64_t count) {
    int64_t found = 0;
    std::fill_n(ends_.data(), int64_t{channels_} * phases_ + 1, 0);
    for (int64_t n = 0; n < count; n++) {
      for (int y = 0; y < shape_.height; y++) {
        for (int x = 0; x < shape_.width; x++, spikes += shape_.inputs) {
          const int from_y = y + shape_.padding_y, from_x = x + shape_.padding_x;
          const int line = from_y / shape_.stride_y, column = from_x / shape_.stride_x;
          const int phase = from_y % shape_.stride_y * shape_.stride_x + from_x % shape_.stride_x;
          const int64_t pixel = (n * shape_.out_height + line) * shape_.out_width + column;
          places_.reserve(found + channels_, found);
          lists_.reserve(found + channels_, found);
          each_event(spikes, channels_, [&](int c) {
            lists_[found] = c * phases_ + phase;
            places_[found++] = {static_cast<uint32_t>(pixel), static_cast<uint16_t>(line),
                                static_cast<uint16_t>(column), value(spikes[c])};
            ends_[c * phases_ + phase + 1]++;
          });
        }
      }
    }
    for (int i = 0; i < channels_ * phases_; i++) ends_[i + 1] += ends_[i];
    sorted_.reserve(found + 1, 0);
    events_.reserve(found + 1, 0);
    // Each list's begin moves to its end, which is the next one's begin.
    for (int64_t i = 0; i < found; i++) sorted_[ends_[lists_[i]]++] = places_[i];
  }

  void add(int c, int tap, const T *gradients) {
    const int tap_y = tap / shape_.kernel_width, tap_x = tap % shape_.kernel_width;
    const int list =
        c * phases_ + tap_y % shape_.stride_y * shape_.stride_x + tap_x % shape_.stride_x;
    const Event *end = inside(&sorted_[list ? ends_[list - 1] : 0], &sorted_[ends_[list]], shape_,
                              tap_y / shape_.stride_y, tap_x / shape_.stride_x, events_.data());
    for (int block = 0; block < blocks_.count; block++) {
      const Segment<T> segment{gradients + blocks_.begin(block), events_.data(), end};
      const int64_t row = int64_t{tap} * channels_ + c;
      float *sums = &sums_[row * shape_.outputs + blocks_.begin(block)];
      add_rows_of<T>(blocks_.groups_of(block))(&segment, &segment + 1, shape_.outputs, sums);
    }
  }

  // sums (taps, channels, O) to the result (O, taps, C)
  void unpack(float *result) const {
    const Memory<float> group(int64_t{kGroup} * channels_);
    for (int64_t tap = 0; tap < shape_.taps(); tap++) {
      for (int g = 0; g < shape_.outputs; g += kGroup) {
        transpose(&sums_[tap * channels_ * shape_.outputs + g], shape_.outputs, group.data(),
                  channels_, channels_, kGroup, [](float number, float *to) { *to = number; });
        for (int k = 0; k < kGroup; k++) {
          const int64_t row = (g + position<T>(k)) * shape_.taps() + tap;
          std::copy_n(&group[int64_t{k} * channels_], channels_,
                      result + row * shape_.inputs + begin_);
        }
      }
    }
  }

  const Shape &shape_;
  Blocks blocks_;
  int64_t begin_;
  int channels_, phases_;
  int64_t at_once_;
  Memory<uint32_t> ends_;
  Memory<int> lists_;  // of each place
  Memory<Place> places_, sorted_;
  Memory<Event> events_;
  Memory<float> sums_;
};

}  // namespace snn

#endif
