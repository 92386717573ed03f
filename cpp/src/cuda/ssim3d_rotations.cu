// A block takes a tile of windows along y and z and walks along x. For each plane it puts the field into shared memory
// and sums over seven along z, then along y; the last seven such sums stay in registers and give the sum along x.
// Every block writes its own partial score, summed in a fixed order, so that results do not change from call to call.
#include "crystalnet/ssim3d_rotations.hpp"

#include "check.hpp"

namespace crystalnet {
namespace {

constexpr int kTileY = 8, kTileZ = 32;  // windows; a warp along z
constexpr int kThreads = kTileY * kTileZ;
constexpr int kRows = kTileY + kWindow - 1, kColumns = kTileZ + kWindow - 1;
constexpr unsigned kMaxBlocksZ = 65535;
constexpr float kMean = static_cast<float>(1 / kWindowSize);
constexpr float kSample = static_cast<float>(kUnbiased);

__host__ __device__ inline long long cube(int n) { return static_cast<long long>(n) * n * n; }

// How many tiles the m³ windows make, and where tile `index` begins.
struct Tiles {
  int along_y, along_z;
  __host__ __device__ explicit Tiles(int m) : along_y((m + kTileY - 1) / kTileY), along_z((m + kTileZ - 1) / kTileZ) {}
  __host__ __device__ int count() const { return along_y * along_z; }
  __device__ int y(int index) const { return index / along_z * kTileY; }
  __device__ int z(int index) const { return index % along_z * kTileZ; }
};

struct Partial {
  double similarity, square_error;
};

// The workspace in pieces. Map 0 is the truth, map 1 + i is guess i.
struct Workspace {
  double* span;      // (1)
  double* offset;    // (maps): the mean, taken off every value before windows are summed
  Partial* partial;  // (guesses, rotations, tiles)
  float* mean;       // (maps, m, m, m) of the windows, without the offset
  float* variance;   // (maps, m, m, m), unbiased
  std::int64_t bytes;

  Workspace(const SimilarityRequest& request, void* memory) {
    const int m = request.n - kWindow + 1;
    const std::int64_t maps = 1 + request.guesses;
    auto* at = static_cast<char*>(memory);
    const auto take = [&](std::int64_t size) {
      char* piece = at;
      at += size;
      return piece;
    };
    span = reinterpret_cast<double*>(take(sizeof(double)));
    offset = reinterpret_cast<double*>(take(maps * static_cast<std::int64_t>(sizeof(double))));
    partial = reinterpret_cast<Partial*>(
        take(request.guesses * request.n_rotations * Tiles(m).count() * static_cast<std::int64_t>(sizeof(Partial))));
    mean = reinterpret_cast<float*>(take(maps * cube(m) * static_cast<std::int64_t>(sizeof(float))));
    variance = reinterpret_cast<float*>(take(maps * cube(m) * static_cast<std::int64_t>(sizeof(float))));
    bytes = at - static_cast<char*>(memory);
  }
};

__device__ const float* map_of(const SimilarityRequest& request, long long map) {
  return map == 0 ? request.truth : request.guess + (map - 1) * cube(request.n);
}

// Where point (x, y, z) of the turned map lies in the map: base + x·step[0] + y·step[1] + z·step[2].
struct Walk {
  int base, step[3];
  __device__ Walk(const Rotation& rotation, int size) : base(0) {
    const int stride[3] = {size * size, size, 1};
    for (int a = 0; a < 3; ++a) {
      const int along = stride[rotation.axis[a]];
      step[a] = rotation.flipped[a] ? -along : along;
      if (rotation.flipped[a]) base += (size - 1) * along;
    }
  }
  __device__ int operator()(int x, int y, int z) const { return base + x * step[0] + y * step[1] + z * step[2]; }
};

// The sum over the block, on thread 0. Callable again after a __syncthreads().
template <class Combine>
__device__ double reduce(double value, Combine combine) {
  __shared__ double warps[32];
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_down_sync(0xffffffffu, value, step));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < static_cast<int>(blockDim.x) / 32; ++warp) value = combine(value, warps[warp]);
  }
  __syncthreads();
  return value;
}

// Sums of K fields over the windows of a tile that begins at (y0, z0).
// load(x, row, column, values) reads the fields at (x, y0 + row, z0 + column); emit(x, sums) gets what the window
// beginning at (x, y0 + threadIdx.x / kTileZ, z0 + threadIdx.x % kTileZ) holds.
template <int K, class Load, class Emit>
__device__ void walk_windows(int n, int y0, int z0, Load load, Emit emit) {
  __shared__ float field[K][kRows][kColumns];
  __shared__ float along_z[K][kRows][kTileZ];
  const int m = n - kWindow + 1;
  const int row = threadIdx.x / kTileZ, column = threadIdx.x % kTileZ;
  const bool inside = y0 + row < m && z0 + column < m;
  float recent[K][kWindow] = {};
  for (int first = 0; first < n; first += kWindow) {
#pragma unroll
    for (int slot = 0; slot < kWindow; ++slot) {  // unrolled, so that `recent` stays in registers
      const int x = first + slot;
      if (x < n) {  // the same for the whole block
        for (int i = threadIdx.x; i < kRows * kColumns; i += kThreads) {
          const int r = i / kColumns, c = i % kColumns;
          float values[K] = {};
          if (y0 + r < n && z0 + c < n) load(x, r, c, values);
#pragma unroll
          for (int k = 0; k < K; ++k) field[k][r][c] = values[k];
        }
        __syncthreads();
        for (int i = threadIdx.x; i < kRows * kTileZ; i += kThreads) {
          const int r = i / kTileZ, c = i % kTileZ;
#pragma unroll
          for (int k = 0; k < K; ++k) {
            float sum = 0;
#pragma unroll
            for (int w = 0; w < kWindow; ++w) sum += field[k][r][c + w];
            along_z[k][r][c] = sum;
          }
        }
        __syncthreads();
        float sums[K];
#pragma unroll
        for (int k = 0; k < K; ++k) {
          float sum = 0;
#pragma unroll
          for (int w = 0; w < kWindow; ++w) sum += along_z[k][row + w][column];
          recent[k][slot] = sum;
          sums[k] = 0;
#pragma unroll
          for (int w = 0; w < kWindow; ++w) sums[k] += recent[k][w];
        }
        if (x + 1 >= kWindow && inside) emit(x + 1 - kWindow, sums);
      }
    }
  }
}

// A block a map: its mean, and the truth's max − min.
__global__ void moments_kernel(SimilarityRequest request, Workspace work) {
  const long long map = blockIdx.x, size = cube(request.n);
  const float* values = map_of(request, map);
  double sum = 0, low = values[0], high = values[0];
  for (long long i = threadIdx.x; i < size; i += blockDim.x) {
    const double value = values[i];
    sum += value;
    low = fmin(low, value);
    high = fmax(high, value);
  }
  sum = reduce(sum, [](double a, double b) { return a + b; });
  low = reduce(low, [](double a, double b) { return fmin(a, b); });
  high = reduce(high, [](double a, double b) { return fmax(a, b); });
  if (threadIdx.x == 0) {
    work.offset[map] = sum / static_cast<double>(size);
    if (map == 0) *work.span = high - low;
  }
}

// A block a tile (x) of a map (z): means and variances of its windows.
__global__ void __launch_bounds__(kThreads) statistics_kernel(SimilarityRequest request, Workspace work) {
  const int n = request.n, m = n - kWindow + 1;
  const Tiles tiles(m);
  const int y0 = tiles.y(blockIdx.x), z0 = tiles.z(blockIdx.x);
  const int y = y0 + threadIdx.x / kTileZ, z = z0 + threadIdx.x % kTileZ;
  for (long long map = blockIdx.z; map < 1 + request.guesses; map += gridDim.z) {
    const float* values = map_of(request, map);
    const double offset = work.offset[map];
    float *mean = work.mean + map * cube(m), *variance = work.variance + map * cube(m);
    walk_windows<2>(
        n, y0, z0,
        [&](int x, int row, int column, float (&fields)[2]) {
          fields[0] = static_cast<float>(values[(x * n + y0 + row) * n + z0 + column] - offset);
          fields[1] = fields[0] * fields[0];
        },
        [&](int x, const float (&sums)[2]) {
          const int at = (x * m + y) * m + z;
          const float average = sums[0] * kMean;
          mean[at] = average;
          variance[at] = kSample * (sums[1] * kMean - average * average);
        });
  }
}

// A block a tile (x) of a guess (z) in one rotation (y): its part of the scores.
__global__ void __launch_bounds__(kThreads) compare_kernel(SimilarityRequest request, Workspace work) {
  const int n = request.n, m = n - kWindow + 1;
  const Tiles tiles(m);
  const int y0 = tiles.y(blockIdx.x), z0 = tiles.z(blockIdx.x);
  const int y = y0 + threadIdx.x / kTileZ, z = z0 + threadIdx.x % kTileZ;
  const bool last_y = y0 + kTileY >= m, last_z = z0 + kTileZ >= m;
  const Walk voxel(request.rotations[blockIdx.y], n), window(request.rotations[blockIdx.y], m);
  const double span = *work.span, truth_offset = work.offset[0];
  const auto c1 = static_cast<float>(kLuminance * span * kLuminance * span);
  const auto c2 = static_cast<float>(kContrast * span * kContrast * span);
  for (long long index = blockIdx.z; index < request.guesses; index += gridDim.z) {
    const float* guess = request.guess + index * cube(n);
    const float *mean_g = work.mean + (1 + index) * cube(m), *variance_g = work.variance + (1 + index) * cube(m);
    const double guess_offset = work.offset[1 + index];
    const auto offset_t = static_cast<float>(truth_offset), offset_g = static_cast<float>(guess_offset);
    Partial sum{0, 0};
    walk_windows<1>(
        n, y0, z0,
        [&](int x, int row, int column, float (&fields)[1]) {
          const float t = request.truth[(x * n + y0 + row) * n + z0 + column];
          const float g = guess[voxel(x, y0 + row, z0 + column)];
          fields[0] = static_cast<float>(t - truth_offset) * static_cast<float>(g - guess_offset);
          // Tiles overlap by the window: a voxel belongs to the first tile that holds it as a window's beginning, those
          // at the end, where no window begins, to the last.
          if ((row < kTileY || last_y) && (column < kTileZ || last_z)) sum.square_error += (t - g) * (t - g);
        },
        [&](int x, const float (&sums)[1]) {
          const int at_t = (x * m + y) * m + z, at_g = window(x, y, z);
          const float mt = work.mean[at_t], mg = mean_g[at_g];
          const float covariance = kSample * (sums[0] * kMean - mt * mg);
          const float t = mt + offset_t, g = mg + offset_g;
          sum.similarity += (2 * t * g + c1) * (2 * covariance + c2) /
                            ((t * t + g * g + c1) * (work.variance[at_t] + variance_g[at_g] + c2));
        });
    const auto add = [](double a, double b) { return a + b; };
    sum.similarity = reduce(sum.similarity, add);
    sum.square_error = reduce(sum.square_error, add);
    if (threadIdx.x == 0) {
      work.partial[(index * request.n_rotations + blockIdx.y) * tiles.count() + blockIdx.x] = sum;
    }
  }
}

// A thread a score: the tiles in their order.
__global__ void __launch_bounds__(kThreads)
    finish_kernel(SimilarityRequest request, Workspace work, double* ssim, double* psnr) {
  const long long score = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (score >= request.guesses * request.n_rotations) return;
  const int m = request.n - kWindow + 1, tiles = Tiles(m).count();
  Partial sum{0, 0};
  for (int tile = 0; tile < tiles; ++tile) {
    sum.similarity += work.partial[score * tiles + tile].similarity;
    sum.square_error += work.partial[score * tiles + tile].square_error;
  }
  const double span = *work.span;
  const double error = fmax(sum.square_error / static_cast<double>(cube(request.n)), kLeastError);
  ssim[score] = span > 0 ? sum.similarity / static_cast<double>(cube(m)) : nan("");
  psnr[score] = span > 0 ? 10 * log10(span * span / error) : nan("");
}

}  // namespace

std::int64_t ssim3d_rotations_workspace(const SimilarityRequest& request) { return Workspace(request, nullptr).bytes; }

void ssim3d_rotations_cuda(const SimilarityRequest& request, void* workspace, double* ssim, double* psnr,
                           void* stream) {
  if (request.guesses == 0) return;
  const Workspace work(request, workspace);
  const auto queue = static_cast<cudaStream_t>(stream);
  const auto tiles = static_cast<unsigned>(Tiles(request.n - kWindow + 1).count());
  const auto along_z = [](std::int64_t count) {
    return static_cast<unsigned>(count < kMaxBlocksZ ? count : kMaxBlocksZ);
  };
  const std::int64_t maps = 1 + request.guesses, scores = request.guesses * request.n_rotations;
  moments_kernel<<<static_cast<unsigned>(maps), 1024, 0, queue>>>(request, work);
  statistics_kernel<<<dim3(tiles, 1, along_z(maps)), kThreads, 0, queue>>>(request, work);
  compare_kernel<<<dim3(tiles, static_cast<unsigned>(request.n_rotations), along_z(request.guesses)), kThreads, 0,
                   queue>>>(request, work);
  finish_kernel<<<static_cast<unsigned>((scores + kThreads - 1) / kThreads), kThreads, 0, queue>>>(request, work, ssim,
                                                                                                   psnr);
  check_cuda(cudaGetLastError(), "ssim3d_rotations");
}

}  // namespace crystalnet
