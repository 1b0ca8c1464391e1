// Threads that wait for work and sleep when there is none.
#ifndef SNN_EVENT_CREW_H
#define SNN_EVENT_CREW_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace snn {

// Tells the processor that this is a waiting loop.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

class Crew {
 public:
  using Work = void (*)(void *context, int32_t member);

  explicit Crew(int32_t members);
  ~Crew();

  // Runs `work` as member 0 here and in whichever others are awake before it is over: it must get everything
  // done with any number of members. Returns when all have left it.
  void together(Work work, void *context);

  int32_t members() const { return static_cast<int32_t>(threads_.size()) + 1; }

 private:
  void attend(int32_t member);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> call_{0};
  std::atomic<int32_t> inside_{0};
  bool open_ = false, stop_ = false;  // under the mutex
  Work work_ = nullptr;
  void *context_ = nullptr;
};

}  // namespace snn
#endif
