#include "engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "kernels.h"
#include "plan.h"
#include "processor.h"
#include "thread_pool.h"
#include "tuning.h"

namespace snn {

// Weak: of those that the compiler did not know there are none, and the address is 0.
#if defined(__x86_64__)
extern const Kernels kernels_baseline;
[[gnu::weak]] extern const Kernels kernels_avx512vnni, kernels_avx512, kernels_avxvnni,
    kernels_avx2;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
[[gnu::weak]] extern const Kernels kernels_dotprod;
#else
extern const Kernels kernels_baseline;
#endif

}  // namespace snn

namespace {

using namespace snn;

// The instruction sets of this build that this processor has, best first.
std::vector<const Kernels *> available_kernels() {
  std::vector<const Kernels *> kernels;
  const auto offer = [&](bool has, const Kernels *own) {
    if (has && own) kernels.push_back(own);
  };
#if defined(__x86_64__)
  offer(has_avx512_vnni(), &kernels_avx512vnni);
  offer(has_avx512(), &kernels_avx512);
  offer(has_avx_vnni(), &kernels_avxvnni);
  offer(has_avx2(), &kernels_avx2);
  offer(true, &kernels_baseline);
#elif defined(__aarch64__)
  offer(has_dot_product(), &kernels_dotprod);
  offer(true, &kernels_neon);
#else
  offer(true, &kernels_baseline);
#endif
  return kernels;
}

const Kernels &find_kernels(const char *name) {
  const std::vector<const Kernels *> available = available_kernels();
  if (!name || !*name) return *available[0];
  for (const Kernels *kernels : available) {
    if (!std::strcmp(kernels->name, name)) return *kernels;
  }
  throw std::runtime_error(std::string("instruction set ") + name +
                           " is not here, expected one of: " + snn_event_instruction_sets());
}

Workspace make_workspace(const Plan &plan) {
  Workspace space;
  const int64_t size = plan.padded_image_bytes();
  space.padded_image = Array<uint8_t>(size);
  // The offset is subtracted from all sums, so the margin must hold it.
  for (int64_t i = 0; i < size; i++)
    space.padded_image.get()[i] = static_cast<uint8_t>(plan.offset[i % 3]);
  space.memory = Array<uint8_t>(static_cast<size_t>(plan.value_bytes));
  const auto at = [&](int64_t offset) { return space.memory.get() + offset; };
  for (size_t v = 0; v < plan.values.size(); v++) {
    const Value &value = plan.values[v];
    const ValueOffsets &offsets = plan.value_offsets[v];
    ValueBuffer buffer;
    if (offsets.mask >= 0) buffer.mask = reinterpret_cast<uint64_t *>(at(offsets.mask));
    if (offsets.counts >= 0) buffer.counts = reinterpret_cast<int32_t *>(at(offsets.counts));
    if (offsets.events >= 0) {
      buffer.events = reinterpret_cast<uint32_t *>(at(offsets.events));
      buffer.begins = buffer.events + value.shape.height * (value.max_row_events + kListPadding);
      if (value.pairs) buffer.pairs = buffer.begins + value.shape.height * (value.shape.width + 1);
    }
    space.buffers.push_back(buffer);
  }
  return space;
}

Scratch make_scratch(const Plan &plan) {
  Scratch scratch;
  scratch.lines = Array<Line>(plan.max_lines);
  scratch.line_begins = Array<Line *>(plan.max_projections + 1);
  scratch.rows = Array<uint32_t>(plan.max_events + 2 * kListPadding);
  scratch.begins = Array<int64_t>(plan.max_pixels + 1);
  scratch.currents = Array<int32_t>(plan.max_currents);
  scratch.patches = Array<uint8_t>(plan.max_patch_bytes);
  return scratch;
}

// Nearly all of what make_scratch takes.
int64_t scratch_bytes(const Plan &plan) {
  return plan.max_lines * static_cast<int64_t>(sizeof(Line)) + plan.max_events * 4 +
         plan.max_currents * 4 + plan.max_patch_bytes;
}

// Threads whose scratch memory fits: all, but for layers that no network of use has.
int32_t fitting_threads(const Plan &plan) {
  const int64_t most = kScratchBytes / std::max<int64_t>(scratch_bytes(plan), 1);
  return static_cast<int32_t>(std::clamp<int64_t>(most, 1, plan.threads));
}

// How far the threads are with a phase: units begun, units done, parts done of every band of rows.
struct alignas(kCacheLine) Progress {
  std::atomic<int64_t> begun{0}, done{0};
  std::vector<std::atomic<int64_t>> parts;

  void reset() {
    begun.store(0, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    for (std::atomic<int64_t> &part : parts) part.store(0, std::memory_order_relaxed);
  }
};

}  // namespace

struct snn_engine {
  explicit snn_engine(Plan ready)
      : plan(std::move(ready)), pool(fitting_threads(plan)), progress_(plan.phases.size()) {
    for (int32_t t = 0; t < pool.size(); t++) scratch_.push_back(make_scratch(plan));
    spaces_.push_back(make_workspace(plan));
    for (size_t i = 0; i < plan.phases.size(); i++) {
      const Phase &phase = plan.phases[i];
      if (phase.step != Step::kLayer) continue;
      progress_[i].parts = std::vector<std::atomic<int64_t>>(plan.layers[phase.index].bands());
    }
  }

  // Images are first shared out to the threads, one each, while there are enough; the rest one
  // after the other, each by all threads.
  void run(const uint8_t *images, int64_t count, float *logits, uint8_t *spikes, int64_t *counts,
           const double *usual, double *distances) {
    std::lock_guard<std::mutex> lock(mutex_);
    images_ = images;
    logits_ = logits;
    spikes_ = spikes;
    counts_ = counts;
    usual_ = usual;
    distances_ = distances;
    count_ = count;
    if (counts || distances) begin_counts();
    parallel_images_ = pool.size() == 1 ? count : images_fit() ? count - count % pool.size() : 0;
    if (parallel_images_ > 0) {
      while (spaces_.size() < scratch_.size()) spaces_.push_back(make_workspace(plan));
      next_image_.store(0, std::memory_order_relaxed);
      pool.run([](void *self, int32_t t) { static_cast<snn_engine *>(self)->run_images(t); }, this);
    }
    for (int64_t i = parallel_images_; i < count; i++) {
      for (Progress &p : progress_) p.reset();
      set_image(spaces_[0], i);
      pool.run([](void *self, int32_t t) { static_cast<snn_engine *>(self)->run_shared_image(t); },
               this);
      for (Scratch &scratch : scratch_) take_counts(scratch, i);
      measure(i);
    }
  }

  Plan plan;
  ThreadPool pool;

 private:
  // Whether memory allows an image for each thread.
  bool images_fit() const {
    return plan.workspace_bytes() <= kParallelImageBytes ||
           plan.workspace_bytes() <= kParallelImagesBytes / pool.size();
  }

  void set_image(Workspace &space, int64_t i) const {
    const Shape &image = plan.values[0].shape;
    space.index = i;
    const uint8_t *from = images_ + i * image.pixels() * 3;
    uint8_t *to =
        space.padded_image.get() + plan.margin_y * plan.padded_row_bytes() + plan.margin_x * 3;
    for (int64_t y = 0; y < image.height; y++) {
      std::memcpy(to, from, image.width * 3);
      from += image.width * 3;
      to += plan.padded_row_bytes();
    }
    space.logits = logits_ + i * plan.classes;
  }

  // What each thread does while there are images for all.
  void run_images(int32_t thread) {
    Workspace &space = spaces_[thread];
    for (;;) {
      const int64_t i = next_image_.fetch_add(1, std::memory_order_relaxed);
      if (i >= parallel_images_) return;
      set_image(space, i);
      for (const Phase &phase : plan.phases) {
        for (int64_t unit = 0; unit < phase.units; unit++) {
          plan.kernels->execute(plan, phase, unit, space, scratch_[thread]);
          if (phase.step != Step::kLayer) continue;
          const Layer &layer = plan.layers[phase.index];
          if (unit % layer.tile_parts == layer.tile_parts - 1)
            finish_band(layer, unit / layer.tile_parts, space, scratch_[thread]);
        }
      }
      take_counts(scratch_[thread], i);
      measure(i);
    }
  }

  // What each thread does on an image of all: it takes the next unit, and waits for the others at
  // the end of a phase.
  void run_shared_image(int32_t thread) {
    for (size_t i = 0; i < plan.phases.size(); i++) {
      const Phase &phase = plan.phases[i];
      Progress &phase_progress = progress_[i];
      int64_t finished = 0;
      for (;;) {
        const int64_t unit = phase_progress.begun.fetch_add(1, std::memory_order_relaxed);
        if (unit >= phase.units) break;
        plan.kernels->execute(plan, phase, unit, spaces_[0], scratch_[thread]);
        finished++;
        if (phase.step != Step::kLayer) continue;
        const Layer &layer = plan.layers[phase.index];
        const int64_t band = unit / layer.tile_parts;
        // Acquire and release: the thread that completes the band sees what the others wrote into
        // it.
        if (phase_progress.parts[band].fetch_add(1, std::memory_order_acq_rel) ==
            layer.tile_parts - 1) {
          finish_band(layer, band, spaces_[0], scratch_[thread]);
        }
      }
      if (finished) phase_progress.done.fetch_add(finished, std::memory_order_acq_rel);
      for (int spins = 0; phase_progress.done.load(std::memory_order_acquire) < phase.units;
           spins++) {
        wait_a_little(spins);
      }
    }
  }

  // What follows a band of a layer's rows, while its mask is in the cache and not yet overwritten.
  void finish_band(const Layer &layer, int64_t band, Workspace &space, Scratch &scratch) const {
    plan.kernels->run_fused(plan, layer, band, space);
    if (layer.value < 0) return;
    if (spikes_) copy_spikes(layer, band, space);
    if (counts_) plan.kernels->count_spikes(layer, band, space, scratch);
  }

  void begin_counts() {
    if (!counts_) {
      own_counts_.resize(count_ * plan.channels);
      counts_ = own_counts_.data();
    }
    std::fill_n(counts_, count_ * plan.channels, int64_t{0});
    for (Scratch &scratch : scratch_) {
      if (!scratch.planes.get()) scratch.planes = Array<uint64_t>(plan.plane_words);
    }
  }

  // Adds what a thread counted of an image to the caller's [image][channel].
  void take_counts(Scratch &scratch, int64_t image) const {
    if (counts_) plan.kernels->take_counts(plan, scratch, counts_ + image * plan.channels);
  }

  // The spikes of a band, a byte each, into the caller's [population][image][channel][pixel].
  void copy_spikes(const Layer &layer, int64_t band, const Workspace &space) const {
    const Shape &shape = layer.shape;
    const int64_t words = shape.words(), level_words = shape.level_words(), pixels = shape.pixels();
    const int64_t first = band * layer.band_rows * shape.width;
    const int64_t last = std::min(first + layer.band_rows * shape.width, pixels);
    const uint64_t *mask = space.buffers[layer.value].mask;
    uint8_t *to = spikes_ + count_ * layer.neuron_offset + space.index * shape.channels * pixels;
    for (int64_t c = 0; c < shape.channels; c++, to += pixels) {
      for (int64_t pixel = first; pixel < last; pixel++) {
        const uint64_t *word = mask + pixel * words + c / 64;
        to[pixel] = *word >> (c % 64) & 1;
        for (int64_t level = 1; level < shape.levels; level++)
          to[pixel] += word[level * level_words] >> (c % 64) & 1;
      }
    }
  }

  // What follows when an image is counted.
  void measure(int64_t image) const {
    if (!distances_) return;
    const int64_t *counts = counts_ + image * plan.channels;
    distances_[image] = plan.kernels->distance(counts, usual_, plan.channels);
  }

  std::vector<Progress> progress_;
  std::vector<Scratch> scratch_;   // one a thread
  std::vector<Workspace> spaces_;  // one an image that runs
  std::mutex mutex_;
  std::atomic<int64_t> next_image_{0};
  const uint8_t *images_ = nullptr;
  float *logits_ = nullptr;
  uint8_t *spikes_ = nullptr;
  int64_t *counts_ = nullptr;
  const double *usual_ = nullptr;
  double *distances_ = nullptr;
  std::vector<int64_t> own_counts_;  // where the caller has no use for them
  int64_t count_ = 0, parallel_images_ = 0;
};

int32_t snn_event_abi(void) { return SNN_EVENT_ABI; }

const char *snn_event_instruction_sets(void) {
  static const std::string names = [] {
    std::string joined;
    for (const Kernels *kernels : available_kernels())
      joined += (joined.empty() ? "" : " ") + std::string(kernels->name);
    return joined;
  }();
  return names.c_str();
}

snn_engine *snn_event_create(const snn_graph *graph, int32_t threads, const char *instruction_set,
                             char *error, int64_t error_size) {
  std::string problem;
  try {
    if (threads < 1 || threads > SNN_EVENT_MAX_THREADS)
      throw std::runtime_error("threads are not 1 to " + std::to_string(SNN_EVENT_MAX_THREADS));
    return new snn_engine(make_plan(*graph, find_kernels(instruction_set), threads));
  } catch (const std::bad_alloc &) {
    problem.clear();  // it is not the graph's
  } catch (const std::exception &refusal) {
    problem = refusal.what();
  }
  if (error && error_size > 0)
    std::snprintf(error, static_cast<size_t>(error_size), "%s", problem.c_str());
  return nullptr;
}

int32_t snn_event_run(snn_engine *engine, const uint8_t *images, int64_t count, float *logits,
                      uint8_t *spikes, int64_t *counts, const double *usual, double *distances) {
  try {
    engine->run(images, count, logits, spikes, counts, usual, distances);
    return 0;
  } catch (const std::bad_alloc &) {
    return 1;
  }
}

const char *snn_event_instruction_set(const snn_engine *engine) {
  return engine->plan.kernels->name;
}

int32_t snn_event_threads(const snn_engine *engine) { return engine->pool.size(); }

int64_t snn_event_image_bytes(const snn_engine *engine) { return engine->plan.workspace_bytes(); }

void snn_event_destroy(snn_engine *engine) { delete engine; }

double snn_event_bandwidth(int64_t bytes) {
  const Kernels &kernels = *available_kernels()[0];
  const int64_t size = std::max<int64_t>(bytes, 4 * kernels.vector_bytes);
  Arena arena;
  int8_t *const buffer = arena.allocate(static_cast<size_t>(size));
  std::fill_n(buffer, size, int8_t{1});
  const int64_t repeats = std::max<int64_t>(1, (int64_t{8} << 20) / size);
  double best = 0;
  volatile uint64_t sink = 0;
  for (int round = 0; round < 12; round++) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < repeats; i++) sink = sink + kernels.read_bytes(buffer, size);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(size * repeats) / took.count());
  }
  return best;
}
