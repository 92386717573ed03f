#include "crystalnet/film_decode.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "parallel.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CRYSTALNET_X86 1
#include <immintrin.h>
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

namespace crystalnet {
namespace {

// Widths are padded with zeros to a multiple of this, the widest panel of any instruction set; zeros stay zeros.
constexpr std::int64_t kPad = 32;
// Rows of activations that a thread keeps in its cache (1 MiB of L2 on Zen 4): a few buffers of 96 × 512 floats; in
// the backward, what every layer saves of 128 rows. Multiples of every register block.
constexpr std::int64_t kTile = 96, kBackwardTile = 128;
// Floats between rows beyond their width, so that rows of 2^n bytes do not fall into the same cache set.
constexpr std::int64_t kGap = 16;

constexpr std::int64_t kRowBlock = 8;  // a multiple of every instruction set's

std::int64_t rounded_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }
std::int64_t padded(std::int64_t n) { return rounded_up(n, kPad); }
std::int64_t whole_rows(std::int64_t n) { return rounded_up(n, kRowBlock); }

// Points in equal tiles of no more than `most`.
struct Tiles {
  std::int64_t count, size, points;
  Tiles(std::int64_t n_points, std::int64_t most)
      : count((n_points + most - 1) / most), size((n_points + count - 1) / count), points(n_points) {}
  std::int64_t first(std::int64_t i) const { return i * size; }
  std::int64_t length(std::int64_t i) const { return std::max<std::int64_t>(0, std::min(size, points - i * size)); }
};

// --- what the inner loops take --------------------------------------------------------------------------------------

// "wide" is float32, "narrow" is what products are made of (float32 or bfloat16), "paired" is narrow with kPair rows
// of a column side by side, as a product over rows wants them. Strides of narrow and paired in units of 4 bytes.

// y = in · weightsᵀ (raw); v = y scale + shift; ReLU; + residual → wide, narrow, paired, each where wanted.
struct Dense {
  const void* in[2];
  std::int64_t units[2];
  std::int64_t in_stride;
  const void* weights;
  std::int64_t rows, columns;
  const float *scale, *shift;
  bool relu;
  const float* residual;
  float* wide;
  std::int64_t wide_stride;
  void* narrow;
  void* raw;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

// v = in scale + shift; ReLU → wide, narrow, paired, each where wanted.
struct Conditioned {
  const float* in;
  const float *scale, *shift;
  std::int64_t rows, columns;
  bool relu;
  float* wide;
  std::int64_t wide_stride;
  void* narrow;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

struct FourierRows {
  std::int64_t count, columns;
  const double* rows;  // (3, count)
  double centre;
};

// Through v = relu(in scale + shift): grad of v → grad · scale (narrow, paired, added to sum), scale_grad, shift_grad.
struct FilmBackward {
  const void* raw;       // in, narrow, or
  const float* wide_in;  // in, wide
  const float* grad;
  const float *scale, *shift;
  float *scale_grad, *shift_grad;
  std::int64_t rows, columns;
  bool relu;
  float* sum;
  std::int64_t wide_stride;
  void* narrow;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

struct Kernels {
  std::int64_t panel, pair;
  void (*dense)(const Dense&);
  void (*conditioned)(const Conditioned&);
  void (*features)(const FourierRows&, const float* points, std::int64_t n_points, std::int64_t rows, float* scratch,
                   void* narrow, std::int64_t stride, void* paired, std::int64_t pair_stride);
  void (*project)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns, const float* weight,
                  float* out);
  void (*project_backward)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                           const float* weight, const float* grad, float* weight_grad, float* in_grad);
  void (*film_backward)(const FilmBackward&);
  void (*pair_rows)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns, void* out,
                    std::int64_t pair_stride);
  void (*weight_backward)(const void* out_grad, std::int64_t out, const void* in, std::int64_t in_columns,
                          std::int64_t rows, float* grad);
};

// --- one set of inner loops for each instruction set ----------------------------------------------------------------

namespace plain {
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
#pragma GCC pop_options
#endif

// The best that the processor has; CRYSTALNET_CPU=plain|avx2|avx512 in the environment asks for less.
const Kernels& kernels(bool bf16) {
#if CRYSTALNET_X86
  const char* asked = std::getenv("CRYSTALNET_CPU");
  const std::string_view limit = asked ? asked : "";
  if (limit != "plain" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    const bool wide = limit != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!wide) return avx2::kernels;
    if (bf16 && limit != "avx512" && __builtin_cpu_supports("avx512bf16")) return avx512_bf16::kernels;
    return avx512::kernels;
  }
#else
  static_cast<void>(bf16);
#endif
  return plain::kernels;
}

// --- weights ------------------------------------------------------------------------------------------------------

// Zeroed memory on cache lines.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t n)
      : data_(static_cast<T*>(::operator new(n * sizeof(T) + kLine, std::align_val_t{kLine}))), size_(n) {
    std::memset(data_.get(), 0, n * sizeof(T));
  }
  T* get() const { return data_.get(); }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::size_t kLine = 64;
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{kLine}); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

using Floats = Buffer<float>;
using Units = Buffer<std::uint32_t>;

std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// To bfloat16, nearest even.
std::uint32_t half_of(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;  // nan stays nan
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// (out, Σ segments) as panels of (units, panel); each segment of the inputs padded on its own.
template <class Element>
Units pack(const Kernels& isa, std::int64_t out, const std::vector<std::int64_t>& segments, const Element& element) {
  std::int64_t columns = 0;
  for (const std::int64_t segment : segments) columns += padded(segment);
  const std::int64_t units = columns / isa.pair;
  Units packed(padded(out) * units);
  for (std::int64_t o = 0; o < out; ++o) {
    std::uint32_t* panel = packed.get() + o / isa.panel * isa.panel * units + o % isa.panel;
    std::int64_t from = 0, to = 0;
    for (const std::int64_t segment : segments) {
      for (std::int64_t k = 0; k < segment; ++k) {
        const float value = element(o, from + k);
        if (isa.pair == 1)
          panel[(to + k) * isa.panel] = bits_of(value);
        else
          panel[(to + k) / 2 * isa.panel] |= half_of(value) << 16 * ((to + k) & 1);
      }
      from += segment;
      to += padded(segment);
    }
  }
  return packed;
}

struct Layer {
  Units weights;
  std::int64_t in, out;  // padded; in: of one segment
  unsigned flags;
};

Floats padded_copy(const float* values, std::int64_t n) {
  Floats copy(padded(n));
  std::copy_n(values, n, copy.get());
  return copy;
}

// The decoder as the inner loops want it.
struct Plan {
  const FilmDecoder& decoder;
  const Kernels& isa;
  std::int64_t width, stride, wide_stride;  // of c and h
  std::int64_t feature_columns, feature_stride;
  std::int64_t hidden_stride;  // of the layers before the last position layer
  Buffer<double> rows;
  FourierRows fourier;
  std::vector<Layer> position, trunk;
  std::vector<Floats> position_bias;
  Floats ones, head;
  bool residual = false;

  Plan(const FilmDecoder& d, const Kernels& kernels, int n_threads)
      : decoder(d),
        isa(kernels),
        width(padded(d.width)),
        stride(width / kernels.pair + kGap),
        wide_stride(width + kGap),
        feature_columns(padded(2 * d.n_frequencies)),
        feature_stride(feature_columns / kernels.pair + kGap),
        rows(3 * d.n_frequencies),
        position(d.n_position),
        trunk(d.n_trunk),
        head(padded_copy(d.head_weight, d.width)) {
    for (std::int64_t i = 0; i < d.n_frequencies; ++i)
      for (int axis = 0; axis < 3; ++axis) rows[axis * d.n_frequencies + i] = d.rows[3 * i + axis];
    fourier = {d.n_frequencies, feature_columns, rows.get(), d.centre};
    std::int64_t widest = width;
    for (std::int64_t i = 0; i < d.n_position; ++i) {
      position_bias.push_back(padded_copy(d.position[i].bias, d.position[i].out));
      widest = std::max(widest, padded(d.position[i].out));
    }
    hidden_stride = widest / kernels.pair + kGap;
    ones = Floats(widest);
    std::fill_n(ones.get(), widest, 1.0f);
    for (std::int64_t i = 0; i < d.n_trunk; ++i) residual = residual || (d.trunk[i].flags & kResidual);
    parallel_for(d.n_position + d.n_trunk, n_threads, [&](std::int64_t i) {
      const bool before = i < d.n_position;
      const DenseLayer& layer = before ? d.position[i] : d.trunk[i - d.n_position];
      const auto element = [&](std::int64_t o, std::int64_t k) { return layer.weight[o * layer.in + k]; };
      const std::int64_t n_segments = layer.flags & kConcat ? 2 : 1;
      const std::vector<std::int64_t> segments(n_segments, layer.in / n_segments);
      Layer& packed = before ? position[i] : trunk[i - d.n_position];
      packed.weights = pack(isa, layer.out, segments, element);
      packed.in = padded(segments[0]);
      packed.out = padded(layer.out);
      packed.flags = layer.flags;
    });
  }
};

// For each crystal, the junction and each trunk layer: scale and shift (2, width) with the bias in the shift.
class Affine {
 public:
  Affine(const Plan& plan, std::int64_t crystals)
      : width_(plan.width), layers_(1 + plan.decoder.n_trunk), values_(crystals * layers_ * 2 * width_) {}
  Affine(const Plan& plan, std::int64_t crystals, const float* film) : Affine(plan, crystals) {
    const FilmDecoder& d = plan.decoder;
    for (std::int64_t crystal = 0; crystal < crystals; ++crystal) {
      for (std::int64_t i = 0; i < layers_; ++i) {
        const bool conditioned = i == 0 || d.trunk[i - 1].flags & kFilm;
        float* scale = this->scale(crystal, i);
        for (std::int64_t j = 0; j < d.width; ++j) {
          const float bias = i == 0 ? 0.0f : d.trunk[i - 1].bias[j];
          scale[j] = conditioned ? film[j] : 1.0f;
          scale[width_ + j] = conditioned ? film[j] * bias + film[d.width + j] : bias;
        }
        if (conditioned) film += 2 * d.width;
      }
    }
  }
  float* scale(std::int64_t crystal, std::int64_t i) const {
    return values_.get() + (crystal * layers_ + i) * 2 * width_;
  }
  float* shift(std::int64_t crystal, std::int64_t i) const { return scale(crystal, i) + width_; }

 private:
  std::int64_t width_, layers_;
  Floats values_;
};

// --- forward ------------------------------------------------------------------------------------------------------

// What the backward wants to keep of a forward pass over one tile: paired inputs and raw outputs of the trunk layers.
struct Saved {
  std::vector<Units> in, raw;
  Units features;
};

// One thread's activations of one tile.
struct Tile {
  const Plan& plan;
  std::int64_t rows;  // in use
  Floats scratch, p, h, z;
  Units features, c, even, odd;

  Tile(const Plan& plan, std::int64_t rows)
      : plan(plan),
        rows(rows),
        scratch(2 * plan.feature_columns),
        p(rows * plan.wide_stride),
        h(rows * plan.wide_stride),
        z(rows),
        features(rows * plan.feature_stride),
        c(rows * plan.hidden_stride),
        even(rows * plan.hidden_stride),
        odd(rows * plan.hidden_stride) {}

  // p of these points, no more than the tile was made for.
  void position(const float* points, std::int64_t n, Saved* saved = nullptr) {
    const Kernels& isa = plan.isa;
    rows = whole_rows(n);
    isa.features(plan.fourier, points, n, rows, scratch.get(), features.get(), plan.feature_stride,
                 saved ? saved->features.get() : nullptr, plan.feature_columns);
    const std::uint32_t* in = features.get();
    std::int64_t in_stride = plan.feature_stride;
    for (std::size_t i = 0; i < plan.position.size(); ++i) {
      const Layer& layer = plan.position[i];
      const bool last = i + 1 == plan.position.size();
      std::uint32_t* out = i % 2 ? odd.get() : even.get();
      Dense d{};
      d.in[0] = in;
      d.units[0] = layer.in / isa.pair;
      d.in_stride = in_stride;
      d.weights = layer.weights.get();
      d.rows = rows;
      d.columns = layer.out;
      d.scale = plan.ones.get();
      d.shift = plan.position_bias[i].get();
      d.relu = layer.flags & kRelu;
      d.wide = last ? p.get() : nullptr;
      d.wide_stride = plan.wide_stride;
      d.narrow = last ? nullptr : out;
      d.stride = plan.hidden_stride;
      isa.dense(d);
      in = out;
      in_stride = plan.hidden_stride;
    }
  }

  // z = head · h of the points of p under the conditions of one crystal; h is left in `h`.
  void trunk(const Affine& affine, std::int64_t crystal, Saved* saved = nullptr) {
    const Kernels& isa = plan.isa;
    const std::size_t n = plan.trunk.size();
    const auto kept = [&](std::vector<Units> Saved::*which, std::size_t i) {
      return saved && i < n ? ((*saved).*which)[i].get() : nullptr;
    };
    isa.conditioned({p.get(), affine.scale(crystal, 0), affine.shift(crystal, 0), rows, plan.width,
                     plan.decoder.junction_relu, plan.residual || n == 0 ? h.get() : nullptr, plan.wide_stride,
                     c.get(), plan.stride, kept(&Saved::in, 0), plan.width});
    const std::uint32_t* in = c.get();
    for (std::size_t i = 0; i < n; ++i) {
      const Layer& layer = plan.trunk[i];
      const bool last = i + 1 == n;
      std::uint32_t* out = i % 2 ? odd.get() : even.get();
      const auto crystal_layer = static_cast<std::int64_t>(i) + 1;
      Dense d{};
      d.in[0] = in;
      d.in[1] = c.get();
      d.units[0] = layer.in / isa.pair;
      d.units[1] = layer.flags & kConcat ? d.units[0] : 0;
      d.in_stride = plan.stride;
      d.weights = layer.weights.get();
      d.rows = rows;
      d.columns = plan.width;
      d.scale = affine.scale(crystal, crystal_layer);
      d.shift = affine.shift(crystal, crystal_layer);
      d.relu = layer.flags & kRelu;
      d.residual = layer.flags & kResidual ? h.get() : nullptr;
      d.wide = plan.residual || last ? h.get() : nullptr;
      d.wide_stride = plan.wide_stride;
      d.narrow = last ? nullptr : out;
      d.raw = kept(&Saved::raw, i);
      d.stride = plan.stride;
      d.paired = kept(&Saved::in, i + 1);
      d.pair_stride = plan.width;
      isa.dense(d);
      in = out;
    }
    isa.project(h.get(), plan.wide_stride, rows, plan.width, plan.head.get(), z.get());
    for (std::int64_t row = 0; row < rows; ++row) z[row] += plan.decoder.head_bias[0];
  }
};

float softplus(float z) { return z > 20 ? z : std::log1p(std::exp(z)); }

float sigmoid(float z) { return 1 / (1 + std::exp(-z)); }

void check(const FilmDecoder& d) {
  const auto fits = [](bool condition) {
    if (!condition) throw std::invalid_argument("the layers of the decoder do not fit together");
  };
  std::int64_t in = 2 * d.n_frequencies;
  fits(d.n_position > 0 && d.n_frequencies > 0 && d.width > 0);
  for (std::int64_t i = 0; i < d.n_position; ++i) {
    fits(d.position[i].in == in && d.position[i].out > 0 && !(d.position[i].flags & ~kRelu));
    in = d.position[i].out;
  }
  fits(in == d.width);
  for (std::int64_t i = 0; i < d.n_trunk; ++i)
    fits(d.trunk[i].in == (d.trunk[i].flags & kConcat ? 2 : 1) * d.width && d.trunk[i].out == d.width);
}

// --- backward -----------------------------------------------------------------------------------------------------

void check_backward(const FilmDecoder& d) {
  bool known = d.n_position == 1 && d.position[0].flags == 0;
  for (std::int64_t i = 0; i < d.n_trunk; ++i) known = known && !(d.trunk[i].flags & kConcat);
  if (!known) throw std::invalid_argument("no backward for decoders with several position layers or concatenation");
}

// What takes the gradient of a trunk layer's output to its input.
std::vector<Units> transposed_trunk(const Plan& plan, int n_threads) {
  const FilmDecoder& d = plan.decoder;
  std::vector<Units> packed(d.n_trunk);
  parallel_for(d.n_trunk, n_threads, [&](std::int64_t i) {
    const float* weight = d.trunk[i].weight;
    packed[i] = pack(plan.isa, d.width, {d.width},
                     [&](std::int64_t o, std::int64_t k) { return weight[k * d.width + o]; });
  });
  return packed;
}

// Sums over one thread's crystals and points, padded; biases of the trunk follow from the gradient of the shifts.
struct WeightGradient {
  std::vector<Floats> trunk;
  Floats position, position_bias, head;
  double head_bias = 0;  // a plain sum over all points
};

// One thread's tile on the way back.
struct BackwardTile {
  const Plan& plan;
  const std::vector<Units>& transposed;
  const Affine &affine, &affine_grad;
  Tile forward;
  Saved saved;
  WeightGradient sum;
  Floats zeros, dz, g, gp;
  Units narrow, paired;

  BackwardTile(const Plan& plan, const std::vector<Units>& transposed, const Affine& affine, const Affine& affine_grad,
               std::int64_t rows)
      : plan(plan),
        transposed(transposed),
        affine(affine),
        affine_grad(affine_grad),
        forward(plan, rows),
        zeros(plan.width),
        dz(rows),
        g(rows * plan.wide_stride),
        gp(rows * plan.wide_stride),
        narrow(rows * plan.stride),
        paired(rows / plan.isa.pair * plan.width) {
    for (std::size_t i = 0; i < plan.trunk.size(); ++i) {
      saved.in.emplace_back(rows / plan.isa.pair * plan.width);
      saved.raw.emplace_back(rows * plan.stride);
      sum.trunk.emplace_back(plan.width * plan.width);
    }
    saved.features = Units(rows / plan.isa.pair * plan.feature_columns);
    sum.position = Floats(plan.width * plan.feature_columns);
    sum.position_bias = Floats(plan.width);
    sum.head = Floats(plan.width);
  }

  void begin(const float* points, std::int64_t n) {
    forward.position(points, n, &saved);
    std::memset(gp.get(), 0, gp.size() * sizeof(float));
  }

  // Returns the gradient of the amplitude.
  float crystal(std::int64_t crystal, float amplitude, const float* grad, std::int64_t n) {
    const Kernels& isa = plan.isa;
    const std::int64_t rows = forward.rows, wide_stride = plan.wide_stride;
    forward.trunk(affine, crystal, &saved);
    float amplitude_grad = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      const float z = forward.z[i], incoming = i < n ? grad[i] : 0.0f;
      dz[i] = plan.decoder.softplus ? incoming * amplitude * sigmoid(z) : incoming;
      sum.head_bias += dz[i];
      if (plan.decoder.softplus) amplitude_grad += incoming * softplus(z);
    }
    isa.project_backward(forward.h.get(), wide_stride, rows, plan.width, plan.head.get(), dz.get(), sum.head.get(),
                         g.get());
    for (std::int64_t i = plan.decoder.n_trunk; i-- > 0;) {
      const Layer& layer = plan.trunk[i];
      FilmBackward film = film_backward(crystal, i + 1);
      film.raw = saved.raw[i].get();
      film.relu = layer.flags & kRelu;
      film.narrow = narrow.get();
      film.paired = paired.get();
      isa.film_backward(film);
      isa.weight_backward(paired.get(), plan.width, saved.in[i].get(), plan.width, rows, sum.trunk[i].get());
      Dense d{};
      d.in[0] = narrow.get();
      d.units[0] = plan.width / isa.pair;
      d.in_stride = plan.stride;
      d.weights = transposed[i].get();
      d.rows = rows;
      d.columns = plan.width;
      d.scale = plan.ones.get();
      d.shift = zeros.get();
      d.residual = layer.flags & kResidual ? g.get() : nullptr;
      d.wide = g.get();
      d.wide_stride = wide_stride;
      isa.dense(d);
    }
    FilmBackward junction = film_backward(crystal, 0);
    junction.wide_in = forward.p.get();
    junction.relu = plan.decoder.junction_relu;
    junction.sum = gp.get();
    isa.film_backward(junction);
    return amplitude_grad;
  }

  // The position layer, once for all crystals.
  void end() {
    plan.isa.pair_rows(gp.get(), plan.wide_stride, forward.rows, plan.width, paired.get(), plan.width);
    plan.isa.weight_backward(paired.get(), plan.width, saved.features.get(), plan.feature_columns, forward.rows,
                             sum.position.get());
    for (std::int64_t row = 0; row < forward.rows; ++row)
      for (std::int64_t j = 0; j < plan.width; ++j) sum.position_bias[j] += gp[row * plan.wide_stride + j];
  }

 private:
  FilmBackward film_backward(std::int64_t crystal, std::int64_t i) const {
    FilmBackward f{};
    f.grad = g.get();
    f.scale = affine.scale(crystal, i);
    f.shift = affine.shift(crystal, i);
    f.scale_grad = affine_grad.scale(crystal, i);
    f.shift_grad = affine_grad.shift(crystal, i);
    f.rows = forward.rows;
    f.columns = plan.width;
    f.wide_stride = plan.wide_stride;
    f.stride = plan.stride;
    f.pair_stride = plan.width;
    return f;
  }
};

// The threads' sums, without padding, and the gradients of film and of the trunk's biases.
void add_up(const Plan& plan, std::int64_t crystals, const Affine& affine, const Affine& affine_grad,
            const std::vector<WeightGradient>& sums, int n_threads, const FilmDecoderGradient& out) {
  const FilmDecoder& d = plan.decoder;
  const auto total = [&](float* to, std::int64_t rows, std::int64_t columns, std::int64_t stride, const auto& of) {
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t j = 0; j < columns; ++j) to[row * columns + j] = of(sums[0])[row * stride + j];
    for (std::size_t k = 1; k < sums.size(); ++k)
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t j = 0; j < columns; ++j) to[row * columns + j] += of(sums[k])[row * stride + j];
  };
  parallel_for(d.n_trunk + 1, n_threads, [&](std::int64_t i) {
    if (i < d.n_trunk)
      total(out.trunk[i].weight, d.width, d.width, plan.width,
            [i](const WeightGradient& g) { return g.trunk[i].get(); });
    else
      total(out.position[0].weight, d.width, 2 * d.n_frequencies, plan.feature_columns,
            [](const WeightGradient& g) { return g.position.get(); });
  });
  total(out.position[0].bias, 1, d.width, plan.width, [](const WeightGradient& g) { return g.position_bias.get(); });
  total(out.head_weight, 1, d.width, plan.width, [](const WeightGradient& g) { return g.head.get(); });
  double head_bias = 0;
  for (const WeightGradient& g : sums) head_bias += g.head_bias;
  out.head_bias[0] = static_cast<float>(head_bias);

  for (std::int64_t i = 0; i < d.n_trunk; ++i) std::fill_n(out.trunk[i].bias, d.width, 0.0f);
  float* film = out.film;
  for (std::int64_t crystal = 0; crystal < crystals; ++crystal) {
    for (std::int64_t i = 0; i <= d.n_trunk; ++i) {
      // v = scale (raw + bias) + shift
      const float* bias = i > 0 ? d.trunk[i - 1].bias : nullptr;
      float* bias_grad = i > 0 ? out.trunk[i - 1].bias : nullptr;
      const float *scale = affine.scale(crystal, i), *scale_grad = affine_grad.scale(crystal, i),
                  *shift_grad = affine_grad.shift(crystal, i);
      if (bias)
        for (std::int64_t j = 0; j < d.width; ++j) bias_grad[j] += scale[j] * shift_grad[j];
      if (i > 0 && !(d.trunk[i - 1].flags & kFilm)) continue;
      for (std::int64_t j = 0; j < d.width; ++j) {
        film[j] = scale_grad[j] + (bias ? bias[j] * shift_grad[j] : 0.0f);
        film[d.width + j] = shift_grad[j];
      }
      film += 2 * d.width;
    }
  }
}

}  // namespace

void film_decode(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                 std::int64_t n_points, const float* points, bool bf16, int n_threads, float* out) {
  check(decoder);
  if (crystals == 0 || n_points == 0) return;
  const Plan plan(decoder, kernels(bf16), n_threads);
  const Affine affine(plan, crystals, film);
  const Tiles tiles(n_points, kTile);
  // The position branch is shared by the crystals of an item; a few items a thread keep all of them busy.
  const std::int64_t groups = std::clamp<std::int64_t>(8 * n_threads / tiles.count, 1, crystals);
  const std::int64_t items = tiles.count * groups, workers = std::min<std::int64_t>(n_threads, items);
  std::atomic<std::int64_t> next{0};
  parallel_for(workers, n_threads, [&](std::int64_t) {
    Tile tile(plan, whole_rows(tiles.size));
    for (std::int64_t item; (item = next.fetch_add(1)) < items;) {
      const std::int64_t first = tiles.first(item / groups), n = tiles.length(item / groups), group = item % groups;
      tile.position(points + 3 * first, n);
      for (std::int64_t crystal = crystals * group / groups; crystal < crystals * (group + 1) / groups; ++crystal) {
        tile.trunk(affine, crystal);
        float* density = out + crystal * n_points + first;
        for (std::int64_t i = 0; i < n; ++i)
          density[i] = decoder.softplus ? softplus(tile.z[i]) * amplitude[crystal] : tile.z[i];
      }
    }
  });
}

void film_decode_backward(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                          std::int64_t n_points, const float* points, const float* grad, bool bf16, int n_threads,
                          const FilmDecoderGradient& out) {
  check(decoder);
  check_backward(decoder);
  const Plan plan(decoder, kernels(bf16), n_threads);
  const Affine affine(plan, crystals, film);
  Affine affine_grad(plan, crystals);
  const std::vector<Units> transposed = transposed_trunk(plan, n_threads);
  const Tiles tiles(std::max<std::int64_t>(n_points, 1), kBackwardTile);
  // Each crystal belongs to one thread, and threads are summed in order: the same result every time.
  const std::int64_t workers = std::clamp<std::int64_t>(crystals, 1, n_threads);
  std::vector<WeightGradient> sums(workers);
  parallel_for(workers, n_threads, [&](std::int64_t worker) {
    BackwardTile tile(plan, transposed, affine, affine_grad, whole_rows(tiles.size));
    const std::int64_t begin = crystals * worker / workers, end = crystals * (worker + 1) / workers;
    std::fill(out.amplitude + begin, out.amplitude + end, 0.0f);
    for (std::int64_t i = 0; n_points > 0 && i < tiles.count; ++i) {
      const std::int64_t first = tiles.first(i), n = tiles.length(i);
      tile.begin(points + 3 * first, n);
      for (std::int64_t crystal = begin; crystal < end; ++crystal)
        out.amplitude[crystal] += tile.crystal(crystal, amplitude[crystal], grad + crystal * n_points + first, n);
      tile.end();
    }
    sums[worker] = std::move(tile.sum);
  });
  add_up(plan, crystals, affine, affine_grad, sums, n_threads, out);
}

}  // namespace crystalnet
