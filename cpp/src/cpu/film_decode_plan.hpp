// A decoder as the inner loops want it, and the activations of one tile of points.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "buffer.hpp"
#include "crystalnet/film_decode.hpp"
#include "film_decode_isa.hpp"
#include "parallel.hpp"

namespace crystalnet::film {

// Floats between rows beyond their width, so that rows of 2^n bytes do not fall into the same cache set.
constexpr std::int64_t kGap = 16;

inline std::int64_t rounded_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }
inline std::int64_t padded(std::int64_t n) { return rounded_up(n, kPad); }

// Points in equal tiles of no more than `most`.
struct Tiles {
  std::int64_t count, size, points;
  Tiles(std::int64_t n_points, std::int64_t most)
      : count((n_points + most - 1) / most), size((n_points + count - 1) / count), points(n_points) {}
  std::int64_t first(std::int64_t i) const { return i * size; }
  std::int64_t length(std::int64_t i) const { return std::max<std::int64_t>(0, std::min(size, points - i * size)); }
};

using Floats = Buffer<float>;
using Units = Buffer<std::uint32_t>;

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// To bfloat16, nearest even.
inline std::uint32_t half_of(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;  // nan stays nan
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// (out, Σ segments) as panels of (units, panel); each segment of the inputs padded on its own. Panel by panel and unit
// by unit, the order of its memory: training packs every step.
template <class Element>
Units pack(const Kernels& isa, std::int64_t out, const std::vector<std::int64_t>& segments, const Element& element) {
  std::int64_t columns = 0;
  for (const std::int64_t segment : segments) columns += padded(segment);
  const std::int64_t units = columns / isa.pair;
  Units packed(padded(out) * units);
  for (std::int64_t first = 0; first < out; first += isa.panel) {
    std::uint32_t* unit = packed.data() + first * units;
    const std::int64_t n = std::min(isa.panel, out - first);
    std::int64_t from = 0;
    for (const std::int64_t segment : segments) {
      for (std::int64_t k = 0; k < segment; k += isa.pair, unit += isa.panel) {
        if (isa.pair == 1)
          for (std::int64_t o = 0; o < n; ++o) unit[o] = bits_of(element(first + o, from + k));
        else if (k + 1 < segment)
          for (std::int64_t o = 0; o < n; ++o)
            unit[o] = half_of(element(first + o, from + k)) | half_of(element(first + o, from + k + 1)) << 16;
        else
          for (std::int64_t o = 0; o < n; ++o) unit[o] = half_of(element(first + o, from + k));
      }
      unit += (padded(segment) - rounded_up(segment, isa.pair)) / isa.pair * isa.panel;
      from += segment;
    }
  }
  return packed;
}

struct Layer {
  Units weights;
  std::int64_t in, out;  // padded; in: of one segment
  unsigned flags;
};

inline Floats padded_copy(const float* values, std::int64_t n) {
  Floats copy(padded(n));
  std::copy_n(values, n, copy.data());
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
    fourier = {d.n_frequencies, feature_columns, rows.data(), d.centre};
    std::int64_t widest = width;
    for (std::int64_t i = 0; i < d.n_position; ++i) {
      position_bias.push_back(padded_copy(d.position[i].bias, d.position[i].out));
      widest = std::max(widest, padded(d.position[i].out));
    }
    hidden_stride = widest / kernels.pair + kGap;
    ones = Floats(widest);
    std::fill_n(ones.data(), widest, 1.0f);
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
    return values_.data() + (crystal * layers_ + i) * 2 * width_;
  }
  float* shift(std::int64_t crystal, std::int64_t i) const { return scale(crystal, i) + width_; }

 private:
  std::int64_t width_, layers_;
  Floats values_;
};

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
  void position(const float* points, std::int64_t n, Saved* saved = nullptr);

  // z = head · h of the points of p under the conditions of one crystal; h is left in `h`.
  void trunk(const Affine& affine, std::int64_t crystal, Saved* saved = nullptr);
};

// Refuses a decoder whose layers do not fit together.
void check(const FilmDecoder& d);

inline float softplus(float z) { return z > 20 ? z : std::log1p(std::exp(z)); }

}  // namespace crystalnet::film
