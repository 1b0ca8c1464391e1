#include "thread_pool.h"

#include <signal.h>

#include <chrono>

#include "tuning.h"

namespace snn {

ThreadPool::ThreadPool(int32_t size) {
  threads_.reserve(size - 1);
  // Signals are left to the program's own threads: one that is taken here would not interrupt a
  // read there.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int32_t t = 1; t < size; t++) threads_.emplace_back([this, t] { wait_for_tasks(t); });
  } catch (...) {  // the system gives no more threads: go on with these, which size() tells
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    run_number_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread &thread : threads_) thread.join();
}

void ThreadPool::run(Task task, void *context) {
  if (threads_.empty()) return task(context, 0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    task_ = task;
    context_ = context;
    joinable_ = true;
    run_number_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  task(context, 0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    joinable_ = false;  // a thread that wakes up only now has missed it
  }
  for (int spins = 0; running_.load(std::memory_order_acquire) != 0; spins++) {
    wait_a_little(spins);
  }
}

void ThreadPool::wait_for_tasks(int32_t thread) {
  uint64_t last_run = 0;
  for (;;) {
    const auto until = std::chrono::steady_clock::now() + kSpinTime;
    while (run_number_.load(std::memory_order_acquire) == last_run &&
           std::chrono::steady_clock::now() < until) {
      for (int i = 0; i < kPausesPerClock; i++) relax();
    }
    Task task = nullptr;
    void *context = nullptr;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return run_number_.load(std::memory_order_relaxed) != last_run; });
      last_run = run_number_.load(std::memory_order_relaxed);
      if (stop_) return;
      if (!joinable_) continue;
      running_.fetch_add(1, std::memory_order_relaxed);
      task = task_;
      context = context_;
    }
    task(context, thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace snn
