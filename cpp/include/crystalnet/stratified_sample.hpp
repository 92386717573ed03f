// Stratified points in the unit cell, one in each cell of an S×S×S division, and the density of crystals there.
//
// Point p of crystal r: ((i, j, k) + u)/S, p = (i S + j) S + k, u = 24-bit uniforms of Philox4x32-10 with the counter
// (p, 0, r) and the seed as key, so that a point depends on neither batch nor thread, and is the same to the last bit
// on CPU and CUDA. Paper: Methods, stratified sampling.
#pragma once

#include <cstdint>

#include "crystalnet/host_device.hpp"
#include "crystalnet/philox.hpp"

namespace crystalnet {

enum class SampleMode : int {
  kNearest,    // the density of the grid point nearest to the point (halves to even)
  kTrilinear,  // interpolated between the eight grid points around it
  kVoxel,      // the point is moved onto the nearest grid point
};

struct SampleRequest {
  std::int64_t crystals;
  const void* const* maps;   // (crystals): each the address of a map (grid³) at fractional i/grid, periodic
  const std::int64_t* rows;  // (crystals): the r of each crystal
  int grid;
  bool half;    // maps are float16, otherwise float32
  int samples;  // S, at most kMaxSamples
  std::uint64_t seed;
  SampleMode mode;
  bool shared;  // all crystals share the points of r = 0
};

inline constexpr int kMaxSamples = 1024, kMaxGrid = 1024;  // cubes of these fit in 31 bits
inline constexpr float kBelowOne = 1 - 0x1p-24f;  // the largest coordinate: 1 itself is the next cell's 0

// points (crystals or 1 if shared, S³, 3), densities (crystals, S³); S³ points in the order of p.
void stratified_sample(const SampleRequest& request, int n_threads, float* points, float* densities);

// The same on the GPU; every pointer is a device pointer, those that `maps` points to too.
void stratified_sample_cuda(const SampleRequest& request, float* points, float* densities, void* stream);

// --- one point, for both kernels; every step is a single rounding, so that fused multiply-adds change nothing ---

CRYSTALNET_HD inline float stratified_coordinate(float corner, std::uint32_t word, float samples) {
  const float value = (corner + static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f) / samples;
  return value < kBelowOne ? value : kBelowOne;
}

}  // namespace crystalnet
