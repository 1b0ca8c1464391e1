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

#include "crew.h"
#include "kernels.h"
#include "plan.h"

namespace {

using namespace snn;

// The instruction sets of this build that this processor has, best first.
std::vector<const Kernels *> available() {
  std::vector<const Kernels *> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("lzcnt");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    if (__builtin_cpu_supports("avx512vnni")) found.push_back(&kernels_avx512vnni);
    found.push_back(&kernels_avx512);
  }
  if (avx2) found.push_back(&kernels_avx2);
  found.push_back(&kernels_baseline);
#elif defined(__aarch64__)
  found.push_back(&kernels_neon);
#else
  found.push_back(&kernels_baseline);
#endif
  return found;
}

const Kernels &chosen(const char *name) {
  const std::vector<const Kernels *> found = available();
  if (!name || !*name) return *found[0];
  for (const Kernels *kernels : found) {
    if (!std::strcmp(kernels->name, name)) return *kernels;
  }
  throw std::runtime_error(std::string("instruction set ") + name + " is not here, expected one of: " +
                           snn_event_instruction_sets());
}

Workspace make_workspace(const Plan &plan) {
  Workspace space;
  const Shape &image = plan.values[0].shape;
  const int64_t size = (image.height + 2 * plan.margin_y) * plan.picture_stride();
  space.picture = Array<uint8_t>(size);
  // What surrounds the picture must count for nothing: zero, or the offset where that is subtracted later.
  if (plan.colour_bytes() == 1) {
    for (int64_t i = 0; i < size; i++) space.picture.get()[i] = static_cast<uint8_t>(plan.offset[i % 3]);
  }
  space.memory = Array<uint8_t>(static_cast<size_t>(plan.room));
  const auto at = [&](int64_t place) { return space.memory.get() + place; };
  for (size_t v = 0; v < plan.values.size(); v++) {
    const Value &value = plan.values[v];
    const Places &places = plan.places[v];
    Room room;
    if (places.mask >= 0) room.mask = reinterpret_cast<uint64_t *>(at(places.mask));
    if (places.counts >= 0) room.counts = reinterpret_cast<int32_t *>(at(places.counts));
    if (places.list >= 0) {
      room.events = reinterpret_cast<uint32_t *>(at(places.list));
      room.starts = room.events + value.shape.height * (value.row_events + kExcess);
    }
    space.rooms.push_back(room);
  }
  return space;
}

Scratch make_scratch(const Plan &plan) {
  Scratch scratch;
  scratch.lines = Array<Line>(plan.most_lines);
  scratch.begin_lines = Array<Line *>(plan.most_projections + 1);
  scratch.rows = Array<uint32_t>(plan.most_events + 2 * kExcess);
  scratch.begins = Array<int64_t>(plan.most_pixels + 1);
  scratch.currents = Array<int32_t>(plan.most_currents);
  return scratch;
}

// Of a stage: units begun, units done, parts done of every band of rows.
struct alignas(64) Progress {
  std::atomic<int64_t> next{0}, done{0};
  std::vector<std::atomic<int64_t>> parts;

  void reset() {
    next.store(0, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    for (std::atomic<int64_t> &part : parts) part.store(0, std::memory_order_relaxed);
  }
};

}  // namespace

struct snn_engine {
  explicit snn_engine(Plan made) : plan(std::move(made)), crew(plan.threads), progress(plan.stages.size()) {
    for (int32_t m = 0; m < crew.members(); m++) scratch.push_back(make_scratch(plan));
    spaces.push_back(make_workspace(plan));
    for (size_t s = 0; s < plan.stages.size(); s++) {
      const Stage &stage = plan.stages[s];
      if (stage.step != Step::kLayer) continue;
      progress[s].parts = std::vector<std::atomic<int64_t>>(plan.layers[stage.index].bands());
    }
  }

  void run(const uint8_t *images, int64_t count, float *logits, uint8_t *spikes) {
    std::lock_guard<std::mutex> lock(mutex);
    images_ = images;
    logits_ = logits;
    spikes_ = spikes;
    count_ = count;
    // Whole images for each thread while there are enough; the rest together, a layer at a time.
    whole_ = crew.members() == 1 ? count : apart() ? count - count % crew.members() : 0;
    if (whole_ > 0) {
      while (spaces.size() < scratch.size()) spaces.push_back(make_workspace(plan));
      next_image_.store(0, std::memory_order_relaxed);
      crew.together([](void *self, int32_t m) { static_cast<snn_engine *>(self)->alone(m); }, this);
    }
    for (int64_t i = whole_; i < count; i++) {
      for (Progress &p : progress) p.reset();
      show(spaces[0], i);
      crew.together([](void *self, int32_t m) { static_cast<snn_engine *>(self)->shared(m); }, this);
    }
  }

  Plan plan;
  Crew crew;

 private:
  // Whether each thread may have an image of its own: while images are small, or few enough to be large.
  bool apart() const {
    constexpr int64_t kSmall = int64_t{64} << 20, kTogether = int64_t{1} << 30;
    return plan.room <= kSmall || plan.room <= kTogether / crew.members();
  }

  void show(Workspace &space, int64_t i) const {
    const Shape &image = plan.values[0].shape;
    space.index = i;
    space.image = images_ + i * image.pixels() * 3;
    space.logits = logits_ + i * plan.classes;
  }

  void alone(int32_t member) {
    Workspace &space = spaces[member];
    for (;;) {
      const int64_t i = next_image_.fetch_add(1, std::memory_order_relaxed);
      if (i >= whole_) return;
      show(space, i);
      for (const Stage &stage : plan.stages) {
        for (int64_t unit = 0; unit < stage.units; unit++) {
          plan.kernels->execute(plan, stage, unit, space, scratch[member]);
          if (stage.step != Step::kLayer) continue;
          const Layer &layer = plan.layers[stage.index];
          if (unit % layer.parts == layer.parts - 1) finish(layer, unit / layer.parts, space);
        }
      }
    }
  }

  // One image by all: whoever comes takes the next unit, and no one goes on before a stage is complete.
  void shared(int32_t member) {
    for (size_t s = 0; s < plan.stages.size(); s++) {
      const Stage &stage = plan.stages[s];
      Progress &own = progress[s];
      int64_t finished = 0;
      for (;;) {
        const int64_t unit = own.next.fetch_add(1, std::memory_order_relaxed);
        if (unit >= stage.units) break;
        plan.kernels->execute(plan, stage, unit, spaces[0], scratch[member]);
        finished++;
        if (stage.step != Step::kLayer) continue;
        const Layer &layer = plan.layers[stage.index];
        const int64_t band = unit / layer.parts;
        // Who completes the band sees what the others wrote into it.
        if (own.parts[band].fetch_add(1, std::memory_order_acq_rel) == layer.parts - 1) {
          finish(layer, band, spaces[0]);
        }
      }
      if (finished) own.done.fetch_add(finished, std::memory_order_acq_rel);
      for (int spins = 0; own.done.load(std::memory_order_acquire) < stage.units; spins++) {
        if (spins < 4096) relax(); else std::this_thread::yield();
      }
    }
  }

  // What follows a band of a layer's rows, while its mask is still there.
  void finish(const Layer &layer, int64_t band, Workspace &space) const {
    plan.kernels->finish(plan, layer, band, space);
    if (spikes_ && layer.value >= 0) tell(layer, band, space);
  }

  // The spikes of a band, a byte each, to where the whole batch's lie.
  void tell(const Layer &layer, int64_t band, const Workspace &space) const {
    const Shape &shape = layer.shape;
    const int64_t words = shape.words(), pixels = shape.pixels();
    const int64_t first = band * layer.rows * shape.width;
    const int64_t last = std::min(first + layer.rows * shape.width, pixels);
    const uint64_t *mask = space.rooms[layer.value].mask;
    uint8_t *own = spikes_ + count_ * layer.before + space.index * shape.channels * pixels;
    for (int64_t c = 0; c < shape.channels; c++, own += pixels) {
      for (int64_t pixel = first; pixel < last; pixel++) own[pixel] = mask[pixel * words + c / 64] >> (c % 64) & 1;
    }
  }

  std::vector<Progress> progress;
  std::vector<Scratch> scratch;
  std::vector<Workspace> spaces;
  std::mutex mutex;
  std::atomic<int64_t> next_image_{0};
  const uint8_t *images_ = nullptr;
  float *logits_ = nullptr;
  uint8_t *spikes_ = nullptr;
  int64_t count_ = 0, whole_ = 0;
};

int32_t snn_event_abi(void) { return SNN_EVENT_ABI; }

const char *snn_event_instruction_sets(void) {
  static const std::string names = [] {
    std::string joined;
    for (const Kernels *kernels : available()) joined += (joined.empty() ? "" : " ") + std::string(kernels->name);
    return joined;
  }();
  return names.c_str();
}

snn_engine *snn_event_create(const snn_graph *graph, int32_t threads, const char *instruction_set, char *error,
                             int64_t error_size) {
  const char *problem = "";
  std::string sentence;
  try {
    if (threads < 1 || threads > 1024) throw std::runtime_error("threads are not 1 to 1024");
    return new snn_engine(make_plan(*graph, chosen(instruction_set), threads));
  } catch (const std::bad_alloc &) {
    problem = "out of memory";
  } catch (const std::exception &refusal) {
    sentence = refusal.what();
    problem = sentence.c_str();
  }
  if (error && error_size > 0) std::snprintf(error, static_cast<size_t>(error_size), "%s", problem);
  return nullptr;
}

int32_t snn_event_run(snn_engine *engine, const uint8_t *images, int64_t count, float *logits, uint8_t *spikes) {
  try {
    engine->run(images, count, logits, spikes);
    return 0;
  } catch (const std::bad_alloc &) {
    return 1;
  }
}

const char *snn_event_instruction_set(const snn_engine *engine) { return engine->plan.kernels->name; }

int64_t snn_event_room(const snn_engine *engine) { return engine->plan.room; }

void snn_event_destroy(snn_engine *engine) { delete engine; }

double snn_event_bandwidth(int64_t bytes) {
  const Kernels &kernels = *available()[0];
  const int64_t size = std::max<int64_t>(bytes, 4 * kernels.vector);
  Arena arena;
  int8_t *const buffer = arena.take(static_cast<size_t>(size));
  std::fill_n(buffer, size, int8_t{1});
  const int64_t repeats = std::max<int64_t>(1, (int64_t{8} << 20) / size);
  double best = 0;
  volatile uint64_t sink = 0;
  for (int round = 0; round < 12; round++) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < repeats; i++) sink = sink + kernels.read(buffer, size);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(size) * repeats / took.count());
  }
  return best;
}
