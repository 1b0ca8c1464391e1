#include "crew.h"

#include <signal.h>

#include <chrono>

namespace snn {
namespace {

// How long a member looks out for the next call before it sleeps: waking takes tens of microseconds, which
// is much of a whole network, and images often come one after the other.
constexpr auto kPatience = std::chrono::microseconds(100);

}  // namespace

Crew::Crew(int32_t members) {
  threads_.reserve(members - 1);
  // Signals are for the program's own threads: one that lands here would not end a read that waits there.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int32_t m = 1; m < members; m++) threads_.emplace_back([this, m] { attend(m); });
  } catch (...) {  // no more threads to be had: go on with those there are
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Crew::~Crew() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    call_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread &thread : threads_) thread.join();
}

void Crew::together(Work work, void *context) {
  if (threads_.empty()) return work(context, 0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ = work;
    context_ = context;
    open_ = true;
    call_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  work(context, 0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = false;  // who wakes up only now has missed it
  }
  for (int spins = 0; inside_.load(std::memory_order_acquire) != 0; spins++) {
    if (spins < 4096) relax(); else std::this_thread::yield();
  }
}

void Crew::attend(int32_t member) {
  uint64_t seen = 0;
  for (;;) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (call_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < until) {
      for (int i = 0; i < 32; i++) relax();
    }
    Work work;
    void *context;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return call_.load(std::memory_order_relaxed) != seen; });
      seen = call_.load(std::memory_order_relaxed);
      if (stop_) return;
      if (!open_) continue;
      inside_.fetch_add(1, std::memory_order_relaxed);
      work = work_;
      context = context_;
    }
    work(context, member);
    inside_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace snn
