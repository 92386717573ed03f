#include "crystalnet/stratified_sample.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "clones.hpp"
#include "half.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

constexpr int kBlock = 512;  // points that one thread takes at a time; their scratch stays in the first cache

inline float as_float(std::uint16_t value) { return half_to_float(value); }
inline float as_float(float value) { return value; }

// Into the second cache: more such requests can be on their way than loads, which halves the time of cold maps.
inline void prefetch([[maybe_unused]] const void* address) {
#ifdef __GNUC__
  __builtin_prefetch(address, 0, 1);
#endif
}

// The lower corners of the S³ cells, x then y then z: made once, since integer divisions do not vectorise.
std::vector<float> cell_corners(int samples) {
  const std::int64_t n = static_cast<std::int64_t>(samples) * samples * samples;
  std::vector<float> corners(3 * n);
  float* x = corners.data();
  for (int i = 0; i < samples; ++i) {
    for (int j = 0; j < samples; ++j) {
      for (int k = 0; k < samples; ++k, ++x) {
        x[0] = static_cast<float>(i);
        x[n] = static_cast<float>(j);
        x[2 * n] = static_cast<float>(k);
      }
    }
  }
  return corners;
}

// n points of a crystal from its point `first` on.
CRYSTALNET_CLONES
void draw(std::uint64_t seed, std::uint64_t row, std::int64_t first, int n, const float* corner_x,
          const float* corner_y, const float* corner_z, float samples, float* __restrict points) {
  const auto row_low = static_cast<std::uint32_t>(row), row_high = static_cast<std::uint32_t>(row >> 32);
  for (int p = 0; p < n; ++p) {
    const PhiloxWords u = philox({static_cast<std::uint32_t>(first) + p, 0, row_low, row_high}, seed);
    points[3 * p] = stratified_coordinate(corner_x[first + p], u.c0, samples);
    points[3 * p + 1] = stratified_coordinate(corner_y[first + p], u.c1, samples);
    points[3 * p + 2] = stratified_coordinate(corner_z[first + p], u.c2, samples);
  }
}

// The grid point nearest to a coordinate below 1; beyond the last comes the first.
inline int nearest(float coordinate, float grid, int last) {
  const int i = static_cast<int>(std::rint(coordinate * grid));
  return i > last ? 0 : i;
}

CRYSTALNET_CLONES
void snap(int n, int grid, float* points) {
  const auto size = static_cast<float>(grid);
  for (int i = 0; i < 3 * n; ++i) points[i] = static_cast<float>(nearest(points[i], size, grid - 1)) / size;
}

template <class Value>
[[gnu::always_inline]] inline void look_up_nearest(const Value* map, int grid, const float* points, int n,
                                                   float* __restrict densities) {
  const auto size = static_cast<float>(grid);
  std::int32_t index[kBlock];
  Value found[kBlock];
  for (int p = 0; p < n; ++p) {
    const float* x = points + 3 * p;
    index[p] = (nearest(x[0], size, grid - 1) * grid + nearest(x[1], size, grid - 1)) * grid +
               nearest(x[2], size, grid - 1);
  }
  for (int p = 0; p < n; ++p) prefetch(map + index[p]);
  for (int p = 0; p < n; ++p) found[p] = map[index[p]];
  for (int p = 0; p < n; ++p) densities[p] = as_float(found[p]);
}

template <class Value>
[[gnu::always_inline]] inline void look_up_trilinear(const Value* map, int grid, const float* points, int n,
                                                     float* __restrict densities) {
  const auto size = static_cast<float>(grid);
  for (int p = 0; p < n; ++p) {
    int low[3], high[3];
    float part[3];
    for (int a = 0; a < 3; ++a) {
      const float t = points[3 * p + a] * size;
      const int i = std::min(static_cast<int>(t), grid - 1);
      low[a] = i;
      high[a] = i + 1 < grid ? i + 1 : 0;
      part[a] = t - static_cast<float>(i);
    }
    const auto along_z = [&](int i, int j) {
      const Value* row = map + (i * grid + j) * grid;
      const float a = as_float(row[low[2]]), b = as_float(row[high[2]]);
      return a + part[2] * (b - a);
    };
    const float a0 = along_z(low[0], low[1]), b0 = along_z(low[0], high[1]);
    const float a1 = along_z(high[0], low[1]), b1 = along_z(high[0], high[1]);
    const float front = a0 + part[1] * (b0 - a0), back = a1 + part[1] * (b1 - a1);
    densities[p] = front + part[0] * (back - front);
  }
}

template <class Value>
[[gnu::always_inline]] inline void look_up(const Value* map, int grid, bool trilinear, const float* points, int n,
                                           float* densities) {
  if (trilinear) {
    look_up_trilinear(map, grid, points, n, densities);
  } else {
    look_up_nearest(map, grid, points, n, densities);
  }
}

// The densities of a crystal at n points.
CRYSTALNET_CLONES
void look_up(const SampleRequest& request, std::int64_t crystal, const float* points, int n, float* densities) {
  const bool trilinear = request.mode == SampleMode::kTrilinear;
  const void* map = request.maps[crystal];
  if (request.half) {
    look_up(static_cast<const std::uint16_t*>(map), request.grid, trilinear, points, n, densities);
  } else {
    look_up(static_cast<const float*>(map), request.grid, trilinear, points, n, densities);
  }
}

}  // namespace

void stratified_sample(const SampleRequest& request, int n_threads, float* points, float* densities) {
  const int samples = request.samples;
  const std::int64_t n = static_cast<std::int64_t>(samples) * samples * samples;
  const std::vector<float> corners = cell_corners(samples);
  const float* corner = corners.data();
  const auto make_points = [&](std::int64_t row, std::int64_t first, int count, float* out) {
    draw(request.seed, static_cast<std::uint64_t>(row), first, count, corner, corner + n, corner + 2 * n,
         static_cast<float>(samples), out);
    if (request.mode == SampleMode::kVoxel) snap(count, request.grid, out);
  };
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  const auto block_size = [&](std::int64_t block) {
    return static_cast<int>(std::min<std::int64_t>(kBlock, n - block * kBlock));
  };
  if (request.shared) {
    parallel_for(blocks, n_threads, [&](std::int64_t block) {
      make_points(0, block * kBlock, block_size(block), points + 3 * block * kBlock);
    });
  }
  parallel_for(request.crystals * blocks, n_threads, [&](std::int64_t item) {
    const std::int64_t crystal = item / blocks, block = item % blocks, first = block * kBlock;
    float* at = points + 3 * ((request.shared ? 0 : crystal * n) + first);
    if (!request.shared) make_points(request.rows[crystal], first, block_size(block), at);
    look_up(request, crystal, at, block_size(block), densities + crystal * n + first);
  });
}

}  // namespace crystalnet
