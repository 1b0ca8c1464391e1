// Zeroed memory that begins on cache lines, with kPadding bytes behind it for kernels to read or
// write.
#ifndef SNN_EVENT_MEMORY_H
#define SNN_EVENT_MEMORY_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "tuning.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace snn {

// The size of a block of `count` bytes with its padding, in whole cache lines.
template <typename Size>
constexpr Size padded(Size count) {
  constexpr Size kLine{kCacheLine};
  return (count + Size{kPadding} + kLine - 1) / kLine * kLine;
}

// The first multiple of `alignment`, a power of 2, from `block` on.
inline void *align_up(void *block, size_t alignment) {
  const size_t rest = reinterpret_cast<uintptr_t>(block) & (alignment - 1);
  return static_cast<char *>(block) + (rest ? alignment - rest : 0);
}

template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t count) {
    if (count > (SIZE_MAX - kCacheLine - kPadding) / sizeof(T)) throw std::bad_alloc();
    // calloc: the kernel hands out zero pages, and a page that no spike ever touches costs nothing.
    block_ = std::calloc(1, count * sizeof(T) + kCacheLine + kPadding);
    if (!block_) throw std::bad_alloc();
    data_ = static_cast<T *>(align_up(block_, kCacheLine));
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
  void *block_ = nullptr;
  T *data_ = nullptr;
};

// Zeroed memory for weights on large pages, given out piece by piece and freed at once.
class Arena {
 public:
  Arena() = default;
  Arena(Arena &&) = default;
  Arena &operator=(Arena &&) = default;
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  ~Arena() = default;

  int8_t *allocate(size_t count) {
    const size_t size = padded(count);
    if (size < count) throw std::bad_alloc();
    if (size > left_) {
      chunks_.emplace_back(std::max(size, kArenaChunk));
      next_ = chunks_.back().get();
      left_ = chunks_.back().size();
    }
    int8_t *start = next_;
    next_ += size;
    left_ -= size;
    return start;
  }

 private:
  // Whole large pages.
  class Chunk {
   public:
    explicit Chunk(size_t count) : size_((count + kLargePage - 1) / kLargePage * kLargePage) {
      if (size_ < count || size_ > SIZE_MAX - kLargePage) throw std::bad_alloc();
#if defined(__linux__)
      block_ = mmap(nullptr, size_ + kLargePage, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block_ == MAP_FAILED) throw std::bad_alloc();
      madvise(get(), size_, MADV_HUGEPAGE);  // where the kernel refuses, it is merely slower
#else
      block_ = std::calloc(1, size_ + kLargePage);
      if (!block_) throw std::bad_alloc();
#endif
    }
    Chunk(Chunk &&other) noexcept
        : size_(other.size_), block_(std::exchange(other.block_, nullptr)) {}
    Chunk(const Chunk &) = delete;
    Chunk &operator=(const Chunk &) = delete;
    Chunk &operator=(Chunk &&) = delete;
    ~Chunk() {
#if defined(__linux__)
      if (block_) munmap(block_, size_ + kLargePage);
#else
      std::free(block_);
#endif
    }
    int8_t *get() const { return static_cast<int8_t *>(align_up(block_, kLargePage)); }
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
