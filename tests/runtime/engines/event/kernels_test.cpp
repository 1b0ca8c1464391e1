// Every kernel of one instruction set (SNN_ISA) against scalar code on the graph's own weights:
// small layers of all forms, masks of every density, weights and thresholds at their limits. The
// functions of kernels.cpp are in an anonymous namespace.
#include "kernels.cpp"  // NOLINT(bugprone-suspicious-include)

#include <algorithm>
#include <numeric>
#include <vector>

#include "expect.h"
#include "kernels_net.h"

namespace snn {
namespace SNN_ISA {
namespace {

const Kernels &own_kernels() { return SNN_KERNELS(SNN_ISA); }

// Sets the masks of all stored values at random, `eighths` of the bits of real channels.
void fill_masks(const Plan &plan, Space &space, Random &random, int eighths) {
  for (size_t v = 1; v < plan.values.size(); v++) {
    const Shape &shape = plan.values[v].shape;
    for (int64_t i = 0; i < shape.pixels() * shape.words(); i++) {
      const int64_t channels = std::min<int64_t>(64, shape.channels - i % shape.words() * 64);
      const uint64_t real = channels == 64 ? ~uint64_t{0} : (uint64_t{1} << channels) - 1;
      space.buffers[v].mask[i] = random.mask(eighths) & real;
    }
    for (int64_t i = 0; i < shape.pixels() * shape.channels; i++) {
      space.buffers[v].counts[i] = static_cast<int32_t>(random.between(0, eighths ? 3 : 0));
    }
  }
}

// What a value sends, read off the memory that the kernels read.
int64_t number(const Plan &plan, const Space &space, int64_t v, int64_t y, int64_t x, int64_t c) {
  const Value &value = plan.values[v];
  const int64_t pixel = y * value.shape.width + x;
  if (value.form == Form::kCounts) return space.buffers[v].counts[pixel * value.shape.channels + c];
  if (value.form == Form::kBits) {
    return static_cast<int64_t>(
        space.buffers[v].mask[pixel * value.shape.words() + c / 64] >> c % 64 & 1);
  }
  int64_t sum = 0;
  for (const Term &term : value.terms) {
    const int64_t k = term.window;
    for (int64_t i = 0; i < k * k; i++) {
      sum += number(plan, space, term.base, y * k + i / k, x * k + i % k, c);
    }
  }
  return sum;
}

// A join of two values, from what they send.
int64_t join_of(const Plan &plan, const Space &space, const Value &join, int64_t y, int64_t x,
                int64_t c) {
  const int64_t left = number(plan, space, join.sources[0], y, x, c);
  const int64_t right = number(plan, space, join.sources[1], y, x, c);
  if (join.kind == SNN_ADD) return left + right;
  return join.kind == SNN_AND ? left * right : left * (1 - right);
}

// A pool, from what its source sends.
int64_t pool_of(const Plan &plan, const Space &space, const Value &pool, int64_t y, int64_t x,
                int64_t c) {
  const int64_t k = pool.kernel;
  int64_t result = 0;
  for (int64_t i = 0; i < k * k; i++) {
    const int64_t one = number(plan, space, pool.sources[0], y * k + i / k, x * k + i % k, c);
    result = pool.kind == SNN_SUM_POOL ? result + one : std::max(result, one);
  }
  return result;
}

// Of a node without weights.
void check_compute(const Plan &plan, Space &space, int32_t v) {
  const Value &value = plan.values[v];
  for (int64_t row = 0; row < value.shape.height; row++) {
    run_step(plan, Step::kCompute, v, row, space);
    for (int64_t x = 0; x < value.shape.width; x++) {
      for (int64_t c = 0; c < value.shape.channels; c++) {
        const int64_t expected = value.sources.size() == 2 ? join_of(plan, space, value, row, x, c)
                                                           : pool_of(plan, space, value, row, x, c);
        expect(value.form == Form::kBits ? "compute, bits" : "compute, counts", c,
               number(plan, space, v, row, x, c), expected);
      }
    }
  }
}

void check_events(const Plan &plan, Space &space, int32_t v) {
  const Value &value = plan.values[v];
  const ValueBuffer &buffer = space.buffers[v];
  for (int64_t row = 0; row < value.shape.height; row++) {
    compress_events(plan, v, row, space);
    const uint32_t *events = buffer.events + row * (value.max_row_events + kListPadding);
    const uint32_t *begins = buffer.begins + row * (value.shape.width + 1);
    int64_t count = 0;
    for (int64_t x = 0; x < value.shape.width; x++) {
      std::vector<int64_t> expected;
      for (int64_t c = 0; c < value.shape.channels; c++) {
        const int64_t times = number(plan, space, v, row, x, c);
        expected.insert(expected.end(), times, x * value.shape.channels + c);
      }
      expect("begins of events", x, begins[x], count);
      std::vector<int64_t> got(events + count,
                               events + count + static_cast<int64_t>(expected.size()));
      std::sort(got.begin(), got.end());  // of a sum they come pixel by pixel
      for (size_t i = 0; i < expected.size(); i++)
        expect("compress_events", x, got[i], expected[i]);
      count += static_cast<int64_t>(expected.size());
    }
    expect("end of events", row, begins[value.shape.width], count);
  }
}

void test_weightless(Random &random) {
  for (const int channels : {1, 63, 64, 65, 130}) {
    Net net(13, 11, random);
    const int32_t a = net.population(channels, {{0, 3, 1, 1, 1}}, 7);
    const int32_t or2 = net.pool(a, 2, true), or3 = net.pool(a, 3, true);
    const int32_t sum = net.pool(a, 2, false), sums = net.pool(sum, 2, false);
    const int32_t most = net.pool(sum, 2, true), total = net.pool(most, 2, false);
    const int32_t b = net.population(channels, {{a, 3, 1, 1, 1}}, 7);
    const int32_t both = net.join(SNN_AND, a, b), not_b = net.join(SNN_IAND, a, b);
    const int32_t added = net.join(SNN_ADD, a, b), mixed = net.join(SNN_ADD, most, sums);
    for (const int32_t source : {a, or2, or3, sum, sums, most, total, both, not_b, added, mixed}) {
      net.population(2, {{source, 1, 1, 0, 1}}, 7);
    }
    const Plan plan = net.plan(own_kernels());
    Space space(plan);
    for (int eighths = 0; eighths <= 8; eighths++) {
      fill_masks(plan, space, random, eighths);
      for (const int32_t v : {or2, or3, most, total, both, not_b, mixed})
        check_compute(plan, space, v);
      for (const int32_t v : {a, or2, sum, sums, total, both, not_b, added, mixed}) {
        check_events(plan, space, v);
      }
    }
  }
}

// Spikes of a channel in an image, band by band, in maps of up to 17 binary digits.
void check_counts(Random &random, int32_t height, int32_t width, int32_t channels) {
  Net net(height, width, random);
  const int32_t v = net.population(channels, {{0, 1, 1, 0, 1}}, 7);
  const Plan plan = net.plan(own_kernels());
  Space space(plan);
  Scratch scratch;
  scratch.planes = Array<uint64_t>(static_cast<size_t>(plan.plane_words));
  for (const int eighths : {1, 8}) {
    fill_masks(plan, space, random, eighths);
    std::vector<int64_t> expected(static_cast<size_t>(channels)), counts(expected);
    for (int64_t i = 0; i < int64_t{height} * width * channels; i++) {
      const int64_t pixel = i / channels, c = i % channels;
      expected[static_cast<size_t>(c)] += number(plan, space, v, pixel / width, pixel % width, c);
    }
    const Layer &layer = plan.layers[0];
    for (int64_t band = 0; band < layer.bands(); band++) count_spikes(layer, band, space, scratch);
    take_counts(plan, scratch, counts.data());
    take_counts(plan, scratch, counts.data());  // of nothing more
    for (size_t c = 0; c < counts.size(); c++)
      expect("count_spikes", static_cast<int64_t>(c), counts[c], expected[c]);
  }
}

void test_counts(Random &random) {
  for (const int channels : {1, 63, 64, 65, 128, 130, 192, 200, 256, 300, 520, 600}) {
    check_counts(random, 7, 9, channels);
    check_counts(random, 13, 17, channels);
  }
  check_counts(random, 1, 1, 70);
  check_counts(random, 301, 257, 1);
}

// The weight of a row of a tile to an output channel, from the graph.
int64_t weight_of(const Net &net, const Plan &plan, const Layer &layer, const Tile &tile,
                  int64_t row, int64_t output) {
  size_t p = tile.row_blocks.size() - 1;
  while (row < tile.row_blocks[p].first_row) p--;
  const RowBlock &block = tile.row_blocks[p];
  const Geometry &g = layer.spike_inputs[p];
  const int64_t inputs = plan.values[g.value].shape.channels / g.groups;
  const int64_t channel = block.first_channel + (row - block.first_row) % block.channels;
  const int64_t tap = (row - block.first_row) / block.channels;
  const int64_t group = output / (layer.shape.channels / g.groups);
  if (channel / inputs != group) return 0;
  return net.weight(g, output, channel % inputs, tap);
}

int64_t rows_of(const Layer &layer, const Tile &tile) {
  const Geometry &g = layer.spike_inputs.back();
  return tile.row_blocks.back().first_row +
         g.kernel_height * g.kernel_width * tile.row_blocks.back().channels;
}

// Rows of a pixel as gather_block must list them: by projection, ky, column and channel.
std::vector<int64_t> gathered(const Plan &plan, const Space &space, const Layer &layer,
                              const Tile &tile, int64_t pixel) {
  std::vector<int64_t> rows;
  for (size_t p = 0; p < layer.spike_inputs.size(); p++) {
    const Geometry &g = layer.spike_inputs[p];
    const Shape &source = plan.values[g.value].shape;
    const RowBlock &block = tile.row_blocks[p];
    for (int64_t tap = 0; tap < g.kernel_height * g.kernel_width; tap++) {
      const int64_t y = pixel / layer.shape.width * g.stride_y - g.padding_y + tap / g.kernel_width;
      const int64_t x = pixel % layer.shape.width * g.stride_x - g.padding_x + tap % g.kernel_width;
      if (y < 0 || y >= source.height || x < 0 || x >= source.width) continue;
      for (int64_t c = block.first_channel; c < block.first_channel + block.channels; c++) {
        const int64_t row = block.first_row + tap * block.channels + c - block.first_channel;
        rows.insert(rows.end(), number(plan, space, g.value, y, x, c), row);
      }
    }
  }
  return rows;
}

void check_gather(const Plan &plan, const Space &space, const Layer &layer, Scratch &scratch) {
  const int64_t pixels = layer.shape.pixels();
  for (const Tile &tile : layer.tiles) {
    for (int64_t first = 0; first < pixels; first += layer.block_pixels) {
      const int64_t count = std::min(layer.block_pixels, pixels - first);
      gather_block(plan, layer, tile, space, scratch, first, count);
      const uint32_t *rows = scratch.rows.get();
      int64_t at = 0;
      for (int64_t i = 0; i < count; i++) {
        std::vector<int64_t> expected = gathered(plan, space, layer, tile, first + i);
        expect("begins of rows", i, scratch.begins.get()[i], at);
        std::vector<int64_t> got(rows + at, rows + at + static_cast<int64_t>(expected.size()));
        std::sort(got.begin(), got.end());
        for (size_t k = 0; k < expected.size(); k++) expect("gather_block", i, got[k], expected[k]);
        at += static_cast<int64_t>(expected.size());
      }
      expect("end of rows", count, scratch.begins.get()[count], at);
      for (uint32_t i = 0; i < kPrefetchRowsBeyondL2; i++)
        expect("rows to prefetch", i, rows[at + i], 0);
    }
  }
}

void test_gather(Random &random) {
  for (const int channels : {6, 66, 132}) {
    Net net(10, 12, random);
    const int32_t a = net.population(channels, {{0, 3, 1, 1, 1}}, 7);
    const int32_t sum = net.pool(a, 2, false);
    net.population(70, {{a, 3, 1, 1, 1}}, 7);
    net.population(64, {{a, 5, 2, 2, 1}, {sum, 3, 1, 1, 1}}, 7);
    net.population(channels, {{a, 3, 1, 0, channels}}, 7);
    net.population(channels, {{a, 3, 3, 2, 3}, {sum, 2, 1, 0, 2}}, 7);
    const Plan plan = net.plan(own_kernels());
    Space space(plan);
    Scratch scratch = make_scratch(plan);
    for (const int eighths : {0, 1, 4, 8}) {
      fill_masks(plan, space, random, eighths);
      check_events(plan, space, a);
      check_events(plan, space, sum);
      for (const Layer &layer : plan.layers) {
        if (!layer.spike_inputs.empty()) check_gather(plan, space, layer, scratch);
      }
    }
  }
}

// Gives one pixel `count` rows, drawn at random, and checks the tile's currents where they show: at
// thresholds that each current just exceeds or just does not, or in the logits.
void check_tile(const Net &net, const Plan &plan, Layer &layer, const Tile &tile, int64_t count,
                Space &space, Scratch &scratch, Random &random) {
  const int64_t rows = rows_of(layer, tile), first = layer.shape.pixels() - 1;
  const int64_t channels = std::min(tile.width, layer.shape.channels - tile.first_channel);
  std::vector<int64_t> expected(channels);
  std::vector<int32_t> thresholds(layer.shape.channels);
  for (int64_t i = 0; i < tile.width; i++) {  // what the image gave
    const int64_t current = layer.image_inputs.empty() ? 12345 : random.between(-1000000, 1000000);
    scratch.currents.get()[i] = static_cast<int32_t>(current);
    if (!layer.image_inputs.empty() && i < channels) expected[i] = current;
  }
  std::vector<uint32_t> order(static_cast<size_t>(rows));  // each neuron fires once at most
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < count; i++) {
    std::swap(order[i], order[random.between(i, rows - 1)]);
    const int64_t row = order[i];
    scratch.rows.get()[i] = order[i];
    for (int64_t c = 0; c < channels; c++) {
      expected[c] += weight_of(net, plan, layer, tile, row, tile.first_channel + c);
    }
  }
  for (uint32_t i = 0; i < kPrefetchRowsBeyondL2; i++) scratch.rows.get()[count + i] = 0;
  scratch.begins.get()[0] = 0;
  scratch.begins.get()[1] = count;
  std::vector<int64_t> fires(channels);
  for (int64_t c = 0; c < channels; c++) {
    fires[c] = random.between(0, 1);
    thresholds[tile.first_channel + c] = static_cast<int32_t>(expected[c] - fires[c]);
  }
  if (layer.value >= 0) set_thresholds(layer, thresholds.data());
  accumulate_for(tile, layer.residency)(plan, layer, tile, space, scratch, first, 1);
  for (int64_t c = 0; c < channels; c++) {
    const int64_t channel = tile.first_channel + c;
    if (layer.value < 0) {
      const double product =
          static_cast<double>(plan.scale[channel]) * static_cast<double>(expected[c]);
      const float logit = static_cast<float>(product) + plan.bias[channel];
      expect("write_logits", channel, space.logits[channel] == logit, 1);
    } else {
      const int64_t at = first * layer.shape.words() + channel / 64;
      const int64_t bit =
          static_cast<int64_t>(space.buffers[layer.value].mask[at] >> channel % 64 & 1);
      expect(layer.image_inputs.empty() ? "accumulate_tile" : "accumulate_tile after the image",
             channel, bit, fires[c]);
    }
  }
}

void test_accumulate(Random &random) {
  const Residency residencies[] = {Residency::kL1, Residency::kL2, Residency::kBeyondL2};
  size_t turn = 0;
  for (const int channels : {1, 64, 100, 128, 256, 512, 700}) {
    // Enough for sums beyond 16 bits, even in 4 bits; or for tiles wider than the registers.
    const int sources = channels <= 128 ? 512 : channels == 512 ? 256 : 64;
    for (const int weight : {7, -8, 127, -128, 8, 1}) {  // all, or at most
      Net net(3, 3, random);
      const int32_t a = net.population(sources, {{0, 3, 1, 1, 1}}, 7);
      net.population(channels, {{a, 3, 1, 1, 1}, {a, 1, 1, 0, 1}}, weight);
      net.population(channels, {{a, 3, 1, 1, 1}, {0, 1, 1, 0, 1}}, weight);
      Plan plan = net.plan(own_kernels(), channels, weight);
      Space space(plan);
      std::vector<float> logits(channels);
      space.logits = logits.data();
      Scratch scratch = make_scratch(plan, 20000);
      if (channels == 512) expect("the widest tile", 1, plan.layers[1].tiles[0].width, kWidestTile);
      for (size_t l = 1; l < plan.layers.size(); l++) {
        Layer &layer = plan.layers[l];
        for (const Tile &tile : layer.tiles) {
          const int64_t rows = rows_of(layer, tile), fit = std::min(tile.event_limit, rows);
          for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{16}, int64_t{17}, int64_t{49},
                                      fit, fit + 1, rows}) {
            layer.residency = residencies[turn++ % 3];
            if (count <= rows) check_tile(net, plan, layer, tile, count, space, scratch, random);
          }
        }
      }
    }
  }
}

// The currents that the image causes, from the graph's weights.
int64_t image_current(const Net &net, const Plan &plan, const Layer &layer, const uint8_t *image,
                      int64_t pixel, int64_t output) {
  const Shape &shape = plan.values[0].shape;
  int64_t sum = 0;
  for (size_t p = 0; p < layer.image_inputs.size(); p++) {
    const Geometry &g = layer.image_inputs[p];
    const int64_t inputs = 3 / g.groups, group = output / (layer.shape.channels / g.groups);
    for (int64_t tap = 0; tap < g.kernel_height * g.kernel_width; tap++) {
      const int64_t y = pixel / layer.shape.width * g.stride_y - g.padding_y + tap / g.kernel_width;
      const int64_t x = pixel % layer.shape.width * g.stride_x - g.padding_x + tap % g.kernel_width;
      if (y < 0 || y >= shape.height || x < 0 || x >= shape.width) continue;
      for (int64_t i = 0; i < inputs; i++) {
        const int64_t colour = group * inputs + i;
        const int64_t element = image[(y * shape.width + x) * 3 + colour] - plan.offset[colour];
        sum += element * net.weight(g, output, i, tap);
      }
    }
  }
  return sum;
}

// Spikes where the image is all there is, currents where spikes follow.
void check_image(const Net &net, const Plan &plan, Layer &layer, const uint8_t *image, Space &space,
                 Scratch &scratch, Random &random) {
  const int64_t channels = layer.shape.channels, pixels = layer.shape.pixels();
  std::vector<int32_t> thresholds(channels);
  for (int64_t c = 0; c < channels; c++) {
    const int64_t current =
        image_current(net, plan, layer, image, random.between(0, pixels - 1), c);
    thresholds[c] = static_cast<int32_t>(current - random.between(0, 1));
    if (!net.per_position && c % 16 == 5) thresholds[c] = c % 32 == 5 ? INT32_MIN : INT32_MAX;
  }
  std::vector<int32_t> positions;
  for (int64_t i = 0; net.per_position && i < channels * pixels; i++) {
    // Alike but at the border.
    const int64_t x = i % pixels % layer.shape.width, y = i % pixels / layer.shape.width;
    const bool border = x == 0 || y == 0 || x == layer.shape.width - 1;
    positions.push_back(thresholds[i / pixels] + (border ? static_cast<int32_t>(x + 3 * y) : 0));
  }
  if (net.per_position)
    set_position_thresholds(layer, positions.data());
  else
    set_thresholds(layer, thresholds.data());
  for (const Tile &tile : layer.tiles) {
    for (int64_t first = 0; first < pixels; first += layer.block_pixels) {
      const int64_t count = std::min(layer.block_pixels, pixels - first);
      convolve_image(plan, layer, tile, space, scratch, first, count, true);
      for (int64_t i = 0; i < count; i++) {
        for (int64_t c = 0; c < std::min(tile.width, channels - tile.first_channel); c++) {
          const int64_t channel = tile.first_channel + c;
          const int64_t current = image_current(net, plan, layer, image, first + i, channel);
          const int64_t theta =
              net.per_position ? positions[channel * pixels + first + i] : thresholds[channel];
          if (layer.spike_inputs.empty()) {
            const uint64_t word =
                space.buffers[layer.value].mask[(first + i) * layer.shape.words() + channel / 64];
            expect("convolve_image, spikes", channel,
                   static_cast<int64_t>(word >> channel % 64 & 1), current > theta);
          } else {
            expect("convolve_image", channel, scratch.currents.get()[i * tile.width + c],
                   current - (net.per_position ? theta : 0));
          }
        }
      }
    }
  }
}

void test_image(Random &random) {
  // Pairs of 7, -8, 16 and 40 fill 16 bits after 9, 8, 4 and 1 of them: beside sums that fit at once
  // there are sums of several parts, and products of 16 bits.
  for (const int channels : {3, 64, 129}) {
    for (const int weight : {100, -128, 7, -8, 16, 40}) {
      for (const bool per_position : {false, true}) {
        Net net(8, 11, random);
        net.per_position = per_position;
        const int32_t a = net.population(channels, {{0, 3, 1, 1, 1}}, weight);
        net.population(channels, {{0, 5, 2, 2, channels % 3 ? 1 : 3}}, weight);
        net.population(channels, {{0, 1, 1, 0, 1}, {0, 3, 1, 1, 1}}, weight);
        net.population(channels, {{a, 7, 1, 3, 1}, {0, 7, 1, 3, 1}}, weight);
        Plan plan = net.plan(own_kernels());
        Space space(plan);
        Scratch scratch = make_scratch(plan);
        for (const int fill : {0, 255, -1}) {
          std::vector<uint8_t> image(8 * 11 * 3);
          for (uint8_t &byte : image)
            byte = static_cast<uint8_t>(fill < 0 ? random.between(0, 255) : fill);
          space.show(plan, image);
          for (Layer &layer : plan.layers) {
            if (!layer.image_inputs.empty())
              check_image(net, plan, layer, image.data(), space, scratch, random);
          }
        }
      }
    }
  }
}

// Cells that roll hold three pixels: whether a row's events fit them, one event below the fullest
// three, at it and above.
void test_fits_cells(Random &random) {
  for (int64_t trial = 0; trial < 400; trial++) {
    const int64_t width = random.between(1, 9);
    std::vector<int64_t> count(static_cast<size_t>(width) + 2, 0);  // none beyond the row
    std::vector<uint32_t> begins{0};
    for (int64_t x = 0; x < width; x++) {
      count[x] = random.between(0, 9);
      begins.push_back(begins.back() + static_cast<uint32_t>(count[x]));
    }
    int64_t most = 0;
    for (int64_t x = 0; x < width; x++) {
      most = std::max(most, count[x] + count[x + 1] + count[x + 2]);
    }
    for (int64_t limit = most - 1; limit <= most + 1; limit++) {
      const InputRow row = {begins.data(), nullptr, nullptr, width, 1, 0, 1, limit};
      expect("fits_cells", limit - most, row.fits_cells(), limit >= most);
    }
  }
}

void test_all() {
  Random random;
  test_fits_cells(random);
  test_weightless(random);
  test_counts(random);
  test_gather(random);
  test_accumulate(random);
  test_image(random);
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn

int main() {
  snn::SNN_ISA::test_all();
  std::puts("all kernels agree");
}
