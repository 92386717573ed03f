// IEEE half precision without compiler support for it, in a form that vectorises.
#pragma once

#include <bit>
#include <cstdint>

namespace crystalnet {

inline float half_to_float(std::uint16_t half) {
  // The exponent's offset differs by 112; the product is exact, subnormal numbers included.
  const float magnitude = std::bit_cast<float>(static_cast<std::uint32_t>(half & 0x7fff) << 13) * 0x1p112f;
  const std::uint32_t special = (half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;  // inf and nan
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | special |
                              static_cast<std::uint32_t>(half & 0x8000) << 16);
}

}  // namespace crystalnet
