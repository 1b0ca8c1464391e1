// Memory for rows, a task on several threads, and a matrix turned over.
#ifndef SNN_TRAIN_MEMORY_H
#define SNN_TRAIN_MEMORY_H

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

// Those of the OpenMP that torch has loaded, so that both share one pool of threads.
extern "C" {
__attribute__((weak)) void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned);  // NOLINT
__attribute__((weak)) int omp_get_thread_num();
__attribute__((weak)) int omp_get_num_threads();
}

namespace snn {

// Numbers whose rows lie on as few cache lines as can be, and that nobody clears.
template <typename T>
class Memory {
 public:
  explicit Memory(int64_t count = 0) { reserve(count, 0); }

  // Makes room for `count`, of which the first `kept` stay what they are.
  void reserve(int64_t count, int64_t kept) {
    if (count <= count_) return;
    count = std::max(count, 2 * count_);
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine;
    std::unique_ptr<T[], Free> larger(static_cast<T *>(std::aligned_alloc(kLine, bytes)));
    if (!larger) throw std::bad_alloc();
    std::copy_n(begin_.get(), kept, larger.get());
    begin_ = std::move(larger);
    count_ = count;
  }

  T *data() const { return begin_.get(); }
  T &operator[](int64_t i) const { return begin_[i]; }

 private:
  static constexpr size_t kLine = 64;
  struct Free {
    void operator()(T *memory) const { std::free(memory); }
  };
  std::unique_ptr<T[], Free> begin_;
  int64_t count_ = 0;
};

// Runs task(part), which throws nothing, for parts 0 … parts - 1.
template <typename Task>
void spread(int parts, const Task &task) {
  if (GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
    struct Work {
      const Task &task;
      int parts;
    } work{task, parts};
    GOMP_parallel(
        [](void *given) {  // by fewer threads than were wanted, where there are fewer
          const auto &[task, parts] = *static_cast<Work *>(given);
          for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads())
            task(part);
        },
        &work, parts, 0);
    return;
  }
  std::vector<std::thread> others;
  others.reserve(parts);
  int begun = 1;
  try {
    for (; begun < parts; begun++) others.emplace_back([&task, begun] { task(begun); });
  } catch (const std::system_error &) {  // no thread is to be had: the rest is done here
    for (int part = begun; part < parts; part++) task(part);
  }
  task(0);
  for (auto &other : others) other.join();
}

// The same, and throws where memory ran out: what leaves a thread itself ends the process.
template <typename Task>
void in_parallel(int parts, const Task &task) {
  std::atomic<bool> failed{false};
  spread(parts, [&](int part) {
    try {
      task(part);
    } catch (const std::bad_alloc &) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

// to[c][r] = from[r][c], by tiles that stay near; `store` converts.
template <typename From, typename To, typename Store>
void transpose(const From *from, int64_t from_stride, To *to, int64_t to_stride, int64_t rows,
               int64_t columns, const Store &store) {
  constexpr int64_t kTile = 16;
  for (int64_t r = 0; r < rows; r += kTile) {
    for (int64_t c = 0; c < columns; c += kTile) {
      for (int64_t i = c; i < std::min(c + kTile, columns); i++)
        for (int64_t k = r; k < std::min(r + kTile, rows); k++)
          store(from[k * from_stride + i], to + i * to_stride + k);
    }
  }
}

}  // namespace snn

#endif
