// One set of the inner loops of film_decode for each instruction set, and the choice among them.
#include "film_decode_isa.hpp"

#include "crystalnet/film_decode.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CRYSTALNET_X86 1
#include <cpuid.h>
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own _mm512_undefined (GCC bug 105593)
#endif

#if defined(__GNUC__)
#define CRYSTALNET_INLINE inline __attribute__((always_inline))
#else
#define CRYSTALNET_INLINE inline
#endif

// Before a short loop whose sums are to stay in registers.
#if defined(__clang__)
#define CRYSTALNET_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define CRYSTALNET_UNROLL _Pragma("GCC unroll 8")
#else
#define CRYSTALNET_UNROLL
#endif

namespace crystalnet::film {
namespace {

namespace plain {
constexpr const char* kName = "plain";
#if defined(__GNUC__)
constexpr int kLanes = 4;
typedef float V __attribute__((vector_size(16)));
typedef float Unaligned __attribute__((vector_size(16), aligned(4), may_alias));
#else
constexpr int kLanes = 1;
using V = float;
using Unaligned = float;
#endif
#define CRYSTALNET_ROWS 4
#include "film_decode_float.inc"
#include "film_decode_kernels.inc"
#undef CRYSTALNET_ROWS
}  // namespace plain

#if CRYSTALNET_X86
namespace avx2 {
constexpr const char* kName = "avx2";
#pragma GCC push_options
#pragma GCC target("avx2,fma")
constexpr int kLanes = 8;
typedef float V __attribute__((vector_size(32)));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));
#define CRYSTALNET_ROWS 4
#include "film_decode_float.inc"
#include "film_decode_kernels.inc"
#undef CRYSTALNET_ROWS
#pragma GCC pop_options
}  // namespace avx2

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
namespace avx512 {
constexpr const char* kName = "avx512";
constexpr int kLanes = 16;
typedef float V __attribute__((vector_size(64)));
typedef float Unaligned __attribute__((vector_size(64), aligned(4), may_alias));
#define CRYSTALNET_ROWS 8
#include "film_decode_float.inc"
#include "film_decode_kernels.inc"
#undef CRYSTALNET_ROWS
}  // namespace avx512

#pragma GCC target("avx512bf16")
namespace avx512_bf16 {
constexpr const char* kName = "avx512_bf16";
constexpr int kLanes = 16, kRows = 8, kPair = 2;
typedef float V __attribute__((vector_size(64)));
typedef float Unaligned __attribute__((vector_size(64), aligned(4), may_alias));
typedef std::uint32_t Unit __attribute__((may_alias));
using Weights = __m512i;
inline Weights load_weights(const Unit* w) { return _mm512_loadu_si512(w); }
inline V multiply_add(Weights w, Unit a, V sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)));
}
inline void store_narrow(Unit* row, std::int64_t column, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + column / 2), (__m256i)_mm512_cvtneps_pbh(v));
}
inline V load_narrow(const Unit* row, std::int64_t column) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + column / 2));
  return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}
inline void store_pair(Unit* out, V first, V second) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second));
  _mm512_storeu_si512(out, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#include "film_decode_kernels.inc"
}  // namespace avx512_bf16

#pragma GCC target("amx-tile,amx-bf16")
namespace amx {
using namespace avx512_bf16;
#include "film_decode_amx.inc"
}  // namespace amx
#pragma GCC pop_options

// Whether the processor has matrix registers for bfloat16, and the system lets this process use them.
bool amx_allowed() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  static const bool allowed = [] {
    constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;  // of leaf 7
    unsigned a, b, c, features;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &features)) return false;
    if (!(features & kAmxBf16) || !(features & kAmxTile)) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // Linux: Documentation/arch/x86/xstate.rst
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return allowed;
#else
  return false;
#endif
}
#endif

}  // namespace

const Kernels& kernels(bool bf16) {
#if CRYSTALNET_X86
  const char* asked = std::getenv("CRYSTALNET_CPU");
  const std::string_view limit = asked ? asked : "";
  if (limit != "plain" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    const bool wide = limit != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!wide) return avx2::kernels;
    if (!bf16 || limit == "avx512" || !__builtin_cpu_supports("avx512bf16")) return avx512::kernels;
    return limit != "avx512_bf16" && amx_allowed() ? amx::kernels : avx512_bf16::kernels;
  }
#else
  static_cast<void>(bf16);
#endif
  return plain::kernels;
}

}  // namespace crystalnet::film

const char* crystalnet::film_decode_instructions(bool bf16) { return film::kernels(bf16).name; }
