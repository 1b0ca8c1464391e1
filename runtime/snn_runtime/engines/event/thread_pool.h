// Threads that wait for work and sleep when there is none.
#ifndef SNN_EVENT_THREAD_POOL_H
#define SNN_EVENT_THREAD_POOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "tuning.h"

namespace snn {

// Tells the processor that this is a waiting loop.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// The `spins`-th turn of a loop that waits for another thread.
inline void wait_a_little(int spins) {
  if (spins < kSpinsBeforeYield) {
    relax();
  } else {
    std::this_thread::yield();
  }
}

class ThreadPool {
 public:
  using Task = void (*)(void *context, int32_t thread);

  explicit ThreadPool(int32_t size);
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;
  ~ThreadPool();

  // Runs `task` as thread 0 here and in whichever other threads wake up before it ends: it must
  // complete with any number of them. Returns when all have left it.
  void run(Task task, void *context);

  int32_t size() const { return static_cast<int32_t>(threads_.size()) + 1; }

 private:
  void wait_for_tasks(int32_t thread);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> run_number_{0};
  std::atomic<int32_t> running_{0};
  bool joinable_ = false, stop_ = false;  // guarded by mutex_
  Task task_ = nullptr;
  void *context_ = nullptr;
};

}  // namespace snn
#endif
