// What a convolution is between, as Shape in library.py says it, field by field.
#ifndef SNN_TRAIN_SHAPE_H
#define SNN_TRAIN_SHAPE_H

#include <cstdint>

namespace snn {

struct Shape {
  int32_t pictures, height, width, inputs, outputs;  // outputs: a multiple of 32
  int32_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x;
  int32_t out_height, out_width;

  int64_t pixels() const { return int64_t{height} * width; }
  int64_t out_pixels() const { return int64_t{out_height} * out_width; }
  int64_t taps() const { return int64_t{kernel_height} * kernel_width; }
};

}  // namespace snn

#endif
