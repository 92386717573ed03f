// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror & Shaw, "Parallel random numbers", SC 2011.
#pragma once

#include <cstdint>

#include "crystalnet/host_device.hpp"

namespace crystalnet {

inline constexpr std::uint64_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr std::uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

struct PhiloxWords {
  std::uint32_t c0, c1, c2, c3;
};

// Four random words from a counter and a key; equal counters and keys give equal words everywhere.
CRYSTALNET_HD inline PhiloxWords philox(PhiloxWords counter, std::uint64_t key) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  // Words in the low halves of 64 bits, whatever is above: the form that compilers vectorise best.
  std::uint64_t c0 = counter.c0, c1 = counter.c1, c2 = counter.c2, c3 = counter.c3;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t a = kPhiloxMultiplier0 * static_cast<std::uint32_t>(c0);
    const std::uint64_t b = kPhiloxMultiplier1 * static_cast<std::uint32_t>(c2);
    c0 = (b >> 32) ^ c1 ^ k0;
    c1 = b;
    c2 = (a >> 32) ^ c3 ^ k1;
    c3 = a;
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return {static_cast<std::uint32_t>(c0), static_cast<std::uint32_t>(c1), static_cast<std::uint32_t>(c2),
          static_cast<std::uint32_t>(c3)};
}

}  // namespace crystalnet
