#include "cpu/features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace bertfast::cpu {
namespace {

struct Features {
  bool avx512 = false;
  bool vnni = false;
  bool bf16 = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;
};

constexpr bool has_bit(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

// Which registers the operating system saves when it switches threads.
uint64_t saved_registers() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Linux hands tile registers only to processes that asked (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

// Intel's manual, volume 2, CPUID, and volume 1, chapters 13.1 and 18.3.
Features detect() {
  constexpr uint64_t kVectorState = 0xE6;  // XMM, YMM, masks, both halves of ZMM
  constexpr uint64_t kTileState = 3 << 17;
  Features found;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return found;
  const bool fma = has_bit(ecx, 12), xsave = has_bit(ecx, 27);
  if (!xsave || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return found;
  const uint64_t saved = saved_registers();
  const bool avx512 = has_bit(ebx, 16) && has_bit(ebx, 17) && has_bit(ebx, 30) && has_bit(ebx, 31);
  found.avx512 = fma && avx512 && (saved & kVectorState) == kVectorState;
  if (!found.avx512) return found;
  found.vnni = has_bit(ecx, 11);
  const bool amx_bf16 = has_bit(edx, 22), amx_tile = has_bit(edx, 24), amx_int8 = has_bit(edx, 25);
  const uint32_t last_subleaf = eax;
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
    found.bf16 = has_bit(eax, 5);
  }
  // Files for AMX may use these two as well.
  const bool amx = amx_tile && found.vnni && found.bf16 && (saved & kTileState) == kTileState;
  if (amx && may_use_tiles()) {
    found.amx_int8 = amx_int8;
    found.amx_bf16 = amx_bf16;
  }
  return found;
}

const Features& features() {
  static const Features kFound = detect();
  return kFound;
}

std::atomic<Isa> newest_isa{Isa::kAmx};

bool amx_is_allowed() { return newest_isa.load(std::memory_order_relaxed) == Isa::kAmx; }

}  // namespace

void limit_isa(Isa newest) { newest_isa.store(newest, std::memory_order_relaxed); }

bool has_avx512() { return features().avx512; }
bool has_vnni() { return features().vnni; }
bool has_bf16() { return features().bf16; }
bool has_amx_int8() { return amx_is_allowed() && features().amx_int8; }
bool has_amx_bf16() { return amx_is_allowed() && features().amx_bf16; }

}  // namespace bertfast::cpu
