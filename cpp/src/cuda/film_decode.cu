// A block takes a tile of points through the whole decoder, for one crystal after the other; activations never leave
// shared memory. The layers run in place: a block holds all outputs of a layer in registers before it overwrites the
// inputs. What a tile's position branch gives is kept in a slot of global memory (one a block, it stays in the L2
// cache), since it serves every crystal. float32: fused multiply-adds. bfloat16: tensor cores, sums in float32.
#include "crystalnet/film_decode.hpp"

#include <cuda_bf16.h>
#include <mma.h>

#include <algorithm>
#include <stdexcept>

#include "check.hpp"

namespace crystalnet {
namespace {

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;
constexpr int kMaxWidth = 512;   // outputs of a layer, which lie in the registers of a block
constexpr int kMaxLayers = 32;   // passed to the kernel by value
constexpr int kMaxBlocks = 288;  // at once, each has a slot: two for each multiprocessor of the largest chips
constexpr int kTile = 16;        // of the tensor cores; widths are padded to it with zeros
constexpr int kMostPoints = 64;  // of a block's tile

__host__ __device__ constexpr int padded(long long n) { return static_cast<int>((n + kTile - 1) / kTile * kTile); }

struct Layer {
  const void* weight;  // as Math::pack_at lays it out
  const float* bias;
  int segment;   // padded inputs from h, and as many from c with kConcat
  int segments;  // 1 or 2
  int out;
  unsigned flags;
};

struct Decoder {
  int n_frequencies;
  const float* rows;
  float centre;
  bool junction_relu, softplus, concat, residual;
  int width, n_film, n_position, n_trunk;
  Layer layers[kMaxLayers];  // position, then trunk
  const float *head_weight, *head_bias;
};

struct Batch {
  long long crystals, n_points;
  const float *film, *amplitude, *points;
  float *slots, *out;
  long long groups;  // blocks that share a tile, each with its part of the crystals
};

// A tile's activations: h (and features before) row by row, c where layers want it.
template <class Element>
struct Activations {
  Element *h, *c;
  int stride, c_stride;
};

// --- products: how elements are stored, weights packed and a layer multiplied ---------------------------------------
//
// dense(layer, in, scratch, emit) calls emit(point, column, W·in) once for every column below padded(out), after every
// thread of the block has read what it needs of `in`; the caller synchronises afterwards.

// kPoints points; a thread has the columns threadIdx.x and threadIdx.x + kThreads of all of them.
template <int kPoints_>
struct Float {
  using Element = float;
  static constexpr int kPoints = kPoints_, kColumns = kMaxWidth / kThreads, kSteps = 4;
  static constexpr int kGap = 4, kScratch = 0;  // float4 loads want rows of whole 16 bytes
  static constexpr bool kKeepsSum = true;       // h itself serves a residual

  // Place of weight (o, k) in a packed layer of `out` and `in` padded: neighbouring threads read neighbours.
  __host__ __device__ static long long pack_at(int o, int k, int out, int) {
    return static_cast<long long>(k) * out + o;
  }

  template <class Emit>
  __device__ static void dense(const Layer& layer, const Activations<float>& in, float*, Emit emit) {
    const int out = padded(layer.out);
    float sum[kColumns][kPoints] = {};
    for (int segment = 0; segment < layer.segments; ++segment) {
      const float* x = segment == 0 ? in.h : in.c;
      const int stride = segment == 0 ? in.stride : in.c_stride;
      const float* weight = static_cast<const float*>(layer.weight) +
                            static_cast<long long>(segment) * layer.segment * out;
      for (int k = 0; k < layer.segment; k += kSteps) {
        float w[kColumns][kSteps];
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const int column = threadIdx.x + j * kThreads;
#pragma unroll
          for (int s = 0; s < kSteps; ++s) {
            w[j][s] = column < out ? weight[static_cast<long long>(k + s) * out + column] : 0.0f;
          }
        }
#pragma unroll
        for (int p = 0; p < kPoints; ++p) {
          const float4 v = *reinterpret_cast<const float4*>(x + p * stride + k);
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            sum[j][p] += w[j][0] * v.x + w[j][1] * v.y + w[j][2] * v.z + w[j][3] * v.w;
          }
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int column = threadIdx.x + j * kThreads;
#pragma unroll
      for (int p = 0; p < kPoints; ++p) {
        if (column < out) emit(p, column, sum[j][p]);
      }
    }
  }

  __device__ static float narrow(float value) { return value; }
  __device__ static float wide(float value) { return value; }
};

// kPoints points by tensor cores; a warp has up to kColumns tiles of columns, all points of them.
template <int kPoints_>
struct Bfloat {
  using Element = __nv_bfloat16;
  static constexpr int kPoints = kPoints_, kRows = kPoints / kTile, kColumns = kMaxWidth / kTile / kWarps;
  static constexpr int kGap = 8;  // bfloat16s; keeps the rows of a tile out of each other's banks
  static constexpr int kScratchStride = kTile + 4, kScratch = kWarps * kTile * kScratchStride;  // floats
  static constexpr bool kKeepsSum = false;

  // Tiles of 16 × 16 one after the other, k fastest: a warp's load of a tile is 512 bytes in a row.
  __host__ __device__ static long long pack_at(int o, int k, int, int in) {
    const long long tile = static_cast<long long>(o / kTile) * (in / kTile) + k / kTile;
    return tile * kTile * kTile + o % kTile * kTile + k % kTile;
  }

  template <class Emit>
  __device__ static void dense(const Layer& layer, const Activations<Element>& in, float* scratch, Emit emit) {
    using namespace nvcuda;
    using Inputs = wmma::fragment<wmma::matrix_a, kTile, kTile, kTile, Element, wmma::row_major>;
    using Weights = wmma::fragment<wmma::matrix_b, kTile, kTile, kTile, Element, wmma::col_major>;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int tiles = padded(layer.out) / kTile, share = (tiles + kWarps - 1) / kWarps;
    const int first = warp * share, count = max(0, min(share, tiles - first));
    const int steps = layer.segment / kTile, all_steps = steps * layer.segments;
    const auto* weight = static_cast<const Element*>(layer.weight) +
                         static_cast<long long>(first) * all_steps * kTile * kTile;

    wmma::fragment<wmma::accumulator, kTile, kTile, kTile, float> sum[kRows][kColumns];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) wmma::fill_fragment(sum[i][j], 0.0f);
    }
    Weights w[2][kColumns];  // those of this step and of the next, which are on their way meanwhile
    const auto fetch = [&](Weights(&into)[kColumns], int step) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        if (j < count) {
          wmma::load_matrix_sync(into[j], weight + (static_cast<long long>(j) * all_steps + step) * kTile * kTile,
                                 kTile);
        }
      }
    };
    const auto multiply = [&](const Weights(&by)[kColumns], int step) {
      const bool second = step >= steps;
      const Element* x = second ? in.c + (step - steps) * kTile : in.h + step * kTile;
      const int stride = second ? in.c_stride : in.stride;
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        Inputs a;
        wmma::load_matrix_sync(a, x + i * kTile * stride, stride);
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          if (j < count) wmma::mma_sync(sum[i][j], a, by[j], sum[i][j]);
        }
      }
    };
    fetch(w[0], 0);
    for (int step = 0; step < all_steps; step += 2) {
      if (step + 1 < all_steps) fetch(w[1], step + 1);
      multiply(w[0], step);
      if (step + 2 < all_steps) fetch(w[0], step + 2);
      if (step + 1 < all_steps) multiply(w[1], step + 1);
    }
    __syncthreads();
    float* mine = scratch + warp * kTile * kScratchStride;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (j >= count) continue;
        wmma::store_matrix_sync(mine, sum[i][j], kScratchStride, wmma::mem_row_major);
        __syncwarp();
        for (int e = lane; e < kTile * kTile; e += kWarp) {
          const int row = e / kTile, column = e % kTile;
          emit(i * kTile + row, (first + j) * kTile + column, mine[row * kScratchStride + column]);
        }
        __syncwarp();
      }
    }
  }

  __device__ static Element narrow(float value) { return __float2bfloat16(value); }
  __device__ static float wide(Element value) { return __bfloat162float(value); }
};

// --- shared memory --------------------------------------------------------------------------------------------------

// Where the pieces begin, in bytes. Features and the first layers want h only, so that c and the sum may lie under it.
template <class Math>
struct Layout {
  int stride, c_stride, sum_stride;  // elements between points
  long long c, sum, scratch, bytes;

  __host__ __device__ explicit Layout(const Decoder& d) {
    const int width = padded(d.width);
    int widest = padded(2LL * d.n_frequencies);
    for (int i = 0; i < d.n_position; ++i) widest = widest > padded(d.layers[i].out) ? widest : padded(d.layers[i].out);
    const long long element = sizeof(typename Math::Element);
    stride = c_stride = width + Math::kGap;
    sum_stride = width;
    c = element * Math::kPoints * stride;
    sum = c + (d.concat ? element * Math::kPoints * c_stride : 0);
    const long long trunk = sum + (d.residual && !Math::kKeepsSum ? 4LL * Math::kPoints * sum_stride : 0);
    const long long position = element * Math::kPoints * position_stride(widest);
    scratch = trunk > position ? trunk : position;
    bytes = scratch + 4LL * Math::kScratch;
  }
  __host__ __device__ static int position_stride(int widest) { return widest + Math::kGap; }
};

// --- the kernel -----------------------------------------------------------------------------------------------------

template <class Math>
__device__ void features(const Decoder& d, const float (*points)[3], const Activations<typename Math::Element>& to) {
  const int columns = padded(2LL * d.n_frequencies);
  for (int i = threadIdx.x; i < Math::kPoints * columns; i += kThreads) {
    const int p = i / columns, column = i % columns;
    float value = 0;
    if (column < 2 * d.n_frequencies) {
      const bool sine = column < d.n_frequencies;
      const float* row = d.rows + 3 * (sine ? column : column - d.n_frequencies);
      const float turns = row[0] * (points[p][0] - d.centre) + row[1] * (points[p][1] - d.centre) +
                          row[2] * (points[p][2] - d.centre);
      value = sine ? sinpif(2 * turns) : cospif(2 * turns);
    }
    to.h[p * to.stride + column] = Math::narrow(value);
  }
}

template <class Math>
__global__ void __launch_bounds__(kThreads, 1) decode_kernel(Decoder d, Batch batch) {
  using Element = typename Math::Element;
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ float points[Math::kPoints][3];
  const Layout<Math> layout(d);
  auto* h = reinterpret_cast<Element*>(memory);
  auto* sum = reinterpret_cast<float*>(memory + layout.sum);
  auto* scratch = reinterpret_cast<float*>(memory + layout.scratch);
  const Activations<Element> trunk{h, reinterpret_cast<Element*>(memory + layout.c), layout.stride, layout.c_stride};
  const int width = d.width, columns = padded(width), lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int widest = padded(2LL * d.n_frequencies);
  for (int i = 0; i < d.n_position; ++i) widest = max(widest, padded(d.layers[i].out));
  const Activations<Element> start{h, h, Layout<Math>::position_stride(widest), 0};
  float* slot = batch.slots + static_cast<long long>(blockIdx.x) * kMostPoints * width;

  const long long tiles = (batch.n_points + Math::kPoints - 1) / Math::kPoints;
  const long long share = (batch.crystals + batch.groups - 1) / batch.groups;
  for (long long item = blockIdx.x; item < tiles * batch.groups; item += gridDim.x) {
    const long long first = item / batch.groups * Math::kPoints, begin = item % batch.groups * share;
    const long long end = min(batch.crystals, begin + share);
    for (int i = threadIdx.x; i < Math::kPoints * 3; i += kThreads) {
      const long long at = 3 * first + i;
      points[i / 3][i % 3] = at < 3 * batch.n_points ? batch.points[at] : 0.0f;
    }
    __syncthreads();
    features<Math>(d, points, start);
    __syncthreads();
    for (int l = 0; l < d.n_position; ++l) {
      const Layer& layer = d.layers[l];
      const bool last = l + 1 == d.n_position;
      Math::dense(layer, start, scratch, [&](int p, int column, float value) {
        if (column < layer.out) value += layer.bias[column];
        if (layer.flags & kRelu) value = fmaxf(value, 0.0f);
        if (!last) {
          start.h[p * start.stride + column] = Math::narrow(value);
        } else if (column < width) {
          slot[p * width + column] = value;
        }
      });
      __syncthreads();
    }

    for (long long crystal = begin; crystal < end; ++crystal) {
      const float* film = batch.film + crystal * d.n_film * 2 * width;
      for (int i = threadIdx.x; i < Math::kPoints * columns; i += kThreads) {
        const int p = i / columns, column = i % columns;
        float value = 0;
        if (column < width) {
          value = film[column] * slot[p * width + column] + film[width + column];
          if (d.junction_relu) value = fmaxf(value, 0.0f);
        }
        trunk.h[p * trunk.stride + column] = Math::narrow(value);
        if (d.concat) trunk.c[p * trunk.c_stride + column] = Math::narrow(value);
        if (d.residual && !Math::kKeepsSum) sum[p * layout.sum_stride + column] = value;
      }
      __syncthreads();
      const float* pair = film;
      for (int l = d.n_position; l < d.n_position + d.n_trunk; ++l) {
        const Layer& layer = d.layers[l];
        if (layer.flags & kFilm) pair += 2 * width;
        Math::dense(layer, trunk, scratch, [&](int p, int column, float value) {
          if (column < width) {
            value += layer.bias[column];
            if (layer.flags & kFilm) value = pair[column] * value + pair[width + column];
            if (layer.flags & kRelu) value = fmaxf(value, 0.0f);
          }
          Element& to = trunk.h[p * trunk.stride + column];
          if (d.residual && !Math::kKeepsSum) {
            float& total = sum[p * layout.sum_stride + column];
            if (layer.flags & kResidual) value += total;
            total = value;
          } else if (layer.flags & kResidual) {
            value += Math::wide(to);
          }
          to = Math::narrow(value);
        });
        __syncthreads();
      }
      for (int p = warp; p < Math::kPoints; p += kWarps) {
        float value = 0;
        for (int column = lane; column < width; column += kWarp) {
          value += d.head_weight[column] * Math::wide(trunk.h[p * trunk.stride + column]);
        }
        for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
        if (lane == 0 && first + p < batch.n_points) {
          value += *d.head_bias;
          if (d.softplus) value = batch.amplitude[crystal] * (fmaxf(value, 0.0f) + log1pf(expf(-fabsf(value))));
          batch.out[crystal * batch.n_points + first + p] = value;
        }
      }
      __syncthreads();
    }
  }
}

// --- weights --------------------------------------------------------------------------------------------------------

// A thread an element of the padded weights; segments are padded each for itself.
template <class Math>
__global__ void __launch_bounds__(kThreads)
    pack_kernel(const float* weight, int out, int in, int segments, typename Math::Element* packed) {
  const int segment = in / segments, wide = padded(segment), rows = padded(out), columns = segments * wide;
  const long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= static_cast<long long>(rows) * columns) return;
  const int o = static_cast<int>(i / columns), k = static_cast<int>(i % columns), within = k % wide;
  const bool real = o < out && within < segment;
  packed[Math::pack_at(o, k, rows, columns)] = Math::narrow(
      real ? weight[static_cast<long long>(o) * in + k / wide * segment + within] : 0.0f);
}

long long packed_size(const DenseLayer& layer) {
  const int segments = layer.flags & kConcat ? 2 : 1;
  return static_cast<long long>(padded(layer.out)) * segments * padded(layer.in / segments);
}

const DenseLayer& layer_of(const FilmDecoder& decoder, std::int64_t i) {
  return i < decoder.n_position ? decoder.position[i] : decoder.trunk[i - decoder.n_position];
}

long long slot_floats(const FilmDecoder& decoder) {
  return static_cast<long long>(kMaxBlocks) * kMostPoints * decoder.width;
}

void check(const FilmDecoder& decoder) {
  const std::int64_t layers = decoder.n_position + decoder.n_trunk;
  if (layers > kMaxLayers) throw std::invalid_argument("the CUDA decoder takes at most 32 layers");
  for (std::int64_t i = 0; i < layers; ++i) {
    if (layer_of(decoder, i).out > kMaxWidth) {
      throw std::invalid_argument("the CUDA decoder takes layers of at most 512 outputs");
    }
  }
}

// What does not depend on the products.
Decoder outline(const FilmDecoder& decoder) {
  Decoder d{};
  d.n_frequencies = static_cast<int>(decoder.n_frequencies);
  d.rows = decoder.rows;
  d.centre = decoder.centre;
  d.junction_relu = decoder.junction_relu;
  d.softplus = decoder.softplus;
  d.width = static_cast<int>(decoder.width);
  d.n_film = 1;
  d.n_position = static_cast<int>(decoder.n_position);
  d.n_trunk = static_cast<int>(decoder.n_trunk);
  d.head_weight = decoder.head_weight;
  d.head_bias = decoder.head_bias;
  for (int i = 0; i < d.n_position + d.n_trunk; ++i) {
    const DenseLayer& layer = layer_of(decoder, i);
    const int segments = layer.flags & kConcat ? 2 : 1;
    d.layers[i] = {nullptr,    layer.bias, padded(layer.in / segments), segments, static_cast<int>(layer.out),
                   layer.flags};
    d.concat |= segments == 2;
    d.residual |= (layer.flags & kResidual) != 0;
    d.n_film += (layer.flags & kFilm) != 0;
  }
  return d;
}

template <class Math>
void run(const FilmDecoder& decoder, Decoder d, Batch batch, void* workspace, cudaStream_t stream) {
  using Element = typename Math::Element;
  batch.slots = static_cast<float*>(workspace);
  auto* packed = reinterpret_cast<Element*>(batch.slots + slot_floats(decoder));
  for (int i = 0; i < d.n_position + d.n_trunk; ++i) {
    const DenseLayer& layer = layer_of(decoder, i);
    const long long size = packed_size(layer);
    pack_kernel<Math><<<static_cast<unsigned>((size + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
        layer.weight, static_cast<int>(layer.out), static_cast<int>(layer.in), d.layers[i].segments, packed);
    d.layers[i].weight = packed;
    packed += size;
  }
  const auto bytes = static_cast<std::size_t>(Layout<Math>(d).bytes);
  check_cuda(
      cudaFuncSetAttribute(decode_kernel<Math>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
      "film_decode: shared memory");
  // As many blocks as run at once, each for as many tiles as it takes.
  int device = 0, processors = 0, each = 0;
  check_cuda(cudaGetDevice(&device), "film_decode");
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "film_decode");
  check_cuda(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, decode_kernel<Math>, kThreads, bytes), "film_decode");
  const long long resident = std::clamp<long long>(static_cast<long long>(processors) * each, 1, kMaxBlocks);
  const long long tiles = (batch.n_points + Math::kPoints - 1) / Math::kPoints;
  batch.groups = std::clamp<long long>(resident / tiles, 1, batch.crystals);
  const auto blocks = static_cast<unsigned>(std::min<long long>(tiles * batch.groups, resident));
  decode_kernel<Math><<<blocks, kThreads, bytes, stream>>>(d, batch);
  check_cuda(cudaGetLastError(), "film_decode");
}

// The largest tile of points whose activations fit into a block's shared memory.
template <class Math, class... Smaller>
void run_largest(const FilmDecoder& decoder, const Decoder& d, const Batch& batch, void* workspace, long long most,
                 cudaStream_t stream) {
  if (Layout<Math>(d).bytes <= most) {
    run<Math>(decoder, d, batch, workspace, stream);
  } else if constexpr (sizeof...(Smaller) > 0) {
    run_largest<Smaller...>(decoder, d, batch, workspace, most, stream);
  } else {
    throw std::invalid_argument("the decoder is too wide for the shared memory of this GPU");
  }
}

}  // namespace

std::int64_t film_decode_workspace(const FilmDecoder& decoder, bool bf16) {
  check(decoder);
  long long elements = 0;
  for (std::int64_t i = 0; i < decoder.n_position + decoder.n_trunk; ++i) elements += packed_size(layer_of(decoder, i));
  return 4 * slot_floats(decoder) + elements * static_cast<long long>(bf16 ? sizeof(__nv_bfloat16) : sizeof(float));
}

void film_decode_cuda(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                      std::int64_t n_points, const float* points, bool bf16, void* workspace, float* out,
                      void* stream) {
  check(decoder);
  if (crystals == 0 || n_points == 0) return;
  int device = 0, most = 0;
  check_cuda(cudaGetDevice(&device), "film_decode");
  check_cuda(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "film_decode");
  most -= 1024;  // the points, and what the runtime keeps
  const Decoder d = outline(decoder);
  const Batch batch{crystals, n_points, film, amplitude, points, nullptr, out, 1};
  const auto queue = static_cast<cudaStream_t>(stream);
  if (bf16) {
    run_largest<Bfloat<64>, Bfloat<32>, Bfloat<16>>(decoder, d, batch, workspace, most, queue);
  } else {
    run_largest<Float<32>, Float<16>, Float<8>>(decoder, d, batch, workspace, most, queue);
  }
}

}  // namespace crystalnet
