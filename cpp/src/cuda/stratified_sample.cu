// Points first, then the densities there: two kernels, a thread a point.
#include "crystalnet/stratified_sample.hpp"

#include <cuda_fp16.h>

#include "check.hpp"

namespace crystalnet {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kMaxBlocksY = 65535;

__device__ float as_float(__half value) { return __half2float(value); }
__device__ float as_float(float value) { return value; }

__device__ int nearest(float coordinate, int grid) {
  const int i = static_cast<int>(rintf(coordinate * static_cast<float>(grid)));
  return i >= grid ? 0 : i;
}

template <class Value>
__device__ float trilinear(const Value* map, int grid, const float* point) {
  int low[3], high[3];
  float part[3];
  for (int a = 0; a < 3; ++a) {
    const float t = point[a] * static_cast<float>(grid);
    const int i = min(static_cast<int>(t), grid - 1);
    low[a] = i;
    high[a] = i + 1 < grid ? i + 1 : 0;
    part[a] = t - static_cast<float>(i);
  }
  float plane[2];
  for (int x = 0; x < 2; ++x) {
    float line[2];
    for (int y = 0; y < 2; ++y) {
      const Value* row = map + (static_cast<long long>(x ? high[0] : low[0]) * grid + (y ? high[1] : low[1])) * grid;
      const float a = as_float(row[low[2]]), b = as_float(row[high[2]]);
      line[y] = a + part[2] * (b - a);
    }
    plane[x] = line[0] + part[1] * (line[1] - line[0]);
  }
  return plane[0] + part[0] * (plane[1] - plane[0]);
}

// A thread a point; sets of points lie along y.
__global__ void __launch_bounds__(kThreads) draw_kernel(SampleRequest request, long long n, float* points) {
  const long long p = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= n) return;
  const int samples = request.samples;
  const long long plane = static_cast<long long>(samples) * samples;
  const float corner[3] = {static_cast<float>(p / plane), static_cast<float>(p / samples % samples),
                           static_cast<float>(p % samples)};
  const long long sets = request.shared ? 1 : request.crystals;
  for (long long set = blockIdx.y; set < sets; set += gridDim.y) {
    const auto row = static_cast<std::uint64_t>(request.shared ? 0 : request.rows[set]);
    const PhiloxWords u = philox(
        {static_cast<std::uint32_t>(p), 0, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(row >> 32)},
        request.seed);
    const std::uint32_t words[3] = {u.c0, u.c1, u.c2};
    for (int a = 0; a < 3; ++a) {
      float x = stratified_coordinate(corner[a], words[a], static_cast<float>(samples));
      if (request.mode == SampleMode::kVoxel) {
        x = static_cast<float>(nearest(x, request.grid)) / static_cast<float>(request.grid);
      }
      points[3 * (set * n + p) + a] = x;
    }
  }
}

// A thread a point; crystals lie along y.
template <class Value>
__global__ void __launch_bounds__(kThreads)
    look_up_kernel(SampleRequest request, long long n, const float* points, float* densities) {
  const long long p = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= n) return;
  const int grid = request.grid;
  for (long long crystal = blockIdx.y; crystal < request.crystals; crystal += gridDim.y) {
    const Value* map = static_cast<const Value*>(request.maps[crystal]);
    const float* x = points + 3 * ((request.shared ? 0 : crystal * n) + p);
    densities[crystal * n +
              p] = request.mode == SampleMode::kTrilinear
                       ? trilinear(map, grid, x)
                       : as_float(
                             map[(static_cast<long long>(nearest(x[0], grid)) * grid + nearest(x[1], grid)) * grid +
                                 nearest(x[2], grid)]);
  }
}

dim3 blocks(long long n, long long sets) {
  return {static_cast<unsigned>((n + kThreads - 1) / kThreads),
          static_cast<unsigned>(sets < kMaxBlocksY ? sets : kMaxBlocksY)};
}

}  // namespace

void stratified_sample_cuda(const SampleRequest& request, float* points, float* densities, void* stream) {
  const long long n = static_cast<long long>(request.samples) * request.samples * request.samples;
  const long long sets = request.shared ? 1 : request.crystals;
  const auto queue = static_cast<cudaStream_t>(stream);
  if (sets > 0) draw_kernel<<<blocks(n, sets), kThreads, 0, queue>>>(request, n, points);
  if (request.crystals > 0) {
    const auto look_up = request.half ? look_up_kernel<__half> : look_up_kernel<float>;
    look_up<<<blocks(n, request.crystals), kThreads, 0, queue>>>(request, n, points, densities);
  }
  check_cuda(cudaGetLastError(), "stratified_sample");
}

}  // namespace crystalnet
