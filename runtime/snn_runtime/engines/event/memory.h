// Zeroed memory on cache lines, with room for a kernel to read or write one vector too far.
#ifndef SNN_EVENT_MEMORY_H
#define SNN_EVENT_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace snn {

template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t count) {
    if (count > (SIZE_MAX - kLine - kSlack) / sizeof(T)) throw std::bad_alloc();
    // calloc: the kernel hands out zero pages, and a page that no spike ever touches costs nothing.
    block_ = std::calloc(1, count * sizeof(T) + kLine + kSlack);
    if (!block_) throw std::bad_alloc();
    data_ = reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(block_) + kLine - 1) & ~(kLine - 1));
  }
  Array(Array &&other) noexcept { *this = std::move(other); }
  Array &operator=(Array &&other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    return *this;
  }
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  ~Array() { std::free(block_); }

  T *get() const { return data_; }

 private:
  static constexpr size_t kLine = 64, kSlack = 256;
  void *block_ = nullptr;
  T *data_ = nullptr;
};

// Zeroed memory for weights, given out piece by piece and freed at once. Rows are read all over megabytes: on
// ordinary pages of 4 KiB looking up where each page lies would cost as much as reading it.
class Arena {
 public:
  Arena() = default;
  Arena(Arena &&) = default;
  Arena &operator=(Arena &&) = default;

  int8_t *take(size_t count) {
    const size_t size = (count + kSlack + kLine - 1) / kLine * kLine;
    if (size < count) throw std::bad_alloc();
    if (size > left_) {
      chunks_.emplace_back(size > kChunk ? size : kChunk);
      next_ = chunks_.back().get();
      left_ = chunks_.back().size();
    }
    int8_t *taken = next_;
    next_ += size;
    left_ -= size;
    return taken;
  }

 private:
  static constexpr size_t kLine = 64, kSlack = 256, kPage = size_t{2} << 20, kChunk = 4 * kPage;

  // A multiple of large pages, given back when it goes.
  class Chunk {
   public:
    explicit Chunk(size_t count) : size_((count + kPage - 1) / kPage * kPage) {
      if (size_ < count || size_ > SIZE_MAX - kPage) throw std::bad_alloc();
#if defined(__linux__)
      block_ = mmap(nullptr, size_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block_ == MAP_FAILED) throw std::bad_alloc();
      madvise(get(), size_, MADV_HUGEPAGE);  // where the kernel refuses, it is merely slower
#else
      block_ = std::calloc(1, size_ + kPage);
      if (!block_) throw std::bad_alloc();
#endif
    }
    Chunk(Chunk &&other) noexcept : size_(other.size_), block_(std::exchange(other.block_, nullptr)) {}
    Chunk &operator=(Chunk &&) = delete;
    ~Chunk() {
#if defined(__linux__)
      if (block_) munmap(block_, size_ + kPage);
#else
      std::free(block_);
#endif
    }
    int8_t *get() const {
      return reinterpret_cast<int8_t *>((reinterpret_cast<uintptr_t>(block_) + kPage - 1) & ~(kPage - 1));
    }
    size_t size() const { return size_; }

   private:
    size_t size_;
    void *block_ = nullptr;
  };

  std::vector<Chunk> chunks_;
  int8_t *next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace snn
#endif
