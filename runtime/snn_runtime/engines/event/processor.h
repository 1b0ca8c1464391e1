// What this processor has, for whoever chooses instructions: the kernels, and the measurement of the
// peak. Features are asked of the processor itself where a compiler does not know their names.
#ifndef SNN_EVENT_PROCESSOR_H
#define SNN_EVENT_PROCESSOR_H

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && !defined(__APPLE__)
#include <sys/auxv.h>
#endif

namespace snn {

#if defined(__x86_64__)

// With all that compilers may use beside it, see event_build.py.
inline bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("popcnt");
}

inline bool has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

inline bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

inline bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

#elif defined(__aarch64__) && defined(__APPLE__)

inline bool has_dot_product() { return true; }  // every processor that Apple makes so

#elif defined(__aarch64__)

inline bool has_dot_product() { return getauxval(AT_HWCAP) >> 20 & 1; }  // HWCAP_ASIMDDP

inline bool has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }  // HWCAP2_I8MM

#endif

}  // namespace snn

#endif
