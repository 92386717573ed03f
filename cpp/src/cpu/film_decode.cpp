// The forward pass of film_decode, tile by tile.
#include "crystalnet/film_decode.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "film_decode_plan.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace film {

void Tile::position(const float* points, std::int64_t n, Saved* saved) {
  const Kernels& isa = plan.isa;
  rows = rounded_up(n, isa.rows);
  isa.features(plan.fourier, points, n, rows, scratch.data(), features.data(), plan.feature_stride,
               saved ? saved->features.data() : nullptr, plan.feature_columns);
  const std::uint32_t* in = features.data();
  std::int64_t in_stride = plan.feature_stride;
  for (std::size_t i = 0; i < plan.position.size(); ++i) {
    const Layer& layer = plan.position[i];
    const bool last = i + 1 == plan.position.size();
    std::uint32_t* out = i % 2 ? odd.data() : even.data();
    Dense d{};
    d.in[0] = in;
    d.units[0] = layer.in / isa.pair;
    d.in_stride = in_stride;
    d.weights = layer.weights.data();
    d.rows = rows;
    d.columns = layer.out;
    d.scale = plan.ones.data();
    d.shift = plan.position_bias[i].data();
    d.relu = layer.flags & kRelu;
    d.wide = last ? p.data() : nullptr;
    d.wide_stride = plan.wide_stride;
    d.narrow = last ? nullptr : out;
    d.stride = plan.hidden_stride;
    isa.dense(d);
    in = out;
    in_stride = plan.hidden_stride;
  }
}

void Tile::trunk(const Affine& affine, std::int64_t crystal, Saved* saved) {
  const Kernels& isa = plan.isa;
  const std::size_t n = plan.trunk.size();
  const auto kept = [&](std::vector<Units> Saved::* which, std::size_t i) {
    return saved && i < n ? ((*saved).*which)[i].data() : nullptr;
  };
  isa.conditioned({p.data(), affine.scale(crystal, 0), affine.shift(crystal, 0), rows, plan.width,
                   plan.decoder.junction_relu, plan.residual || n == 0 ? h.data() : nullptr, plan.wide_stride, c.data(),
                   plan.stride, kept(&Saved::in, 0), plan.width});
  const std::uint32_t* in = c.data();
  for (std::size_t i = 0; i < n; ++i) {
    const Layer& layer = plan.trunk[i];
    const bool last = i + 1 == n;
    std::uint32_t* out = i % 2 ? odd.data() : even.data();
    const auto crystal_layer = static_cast<std::int64_t>(i) + 1;
    Dense d{};
    d.in[0] = in;
    d.in[1] = c.data();
    d.units[0] = layer.in / isa.pair;
    d.units[1] = layer.flags & kConcat ? d.units[0] : 0;
    d.in_stride = plan.stride;
    d.weights = layer.weights.data();
    d.rows = rows;
    d.columns = plan.width;
    d.scale = affine.scale(crystal, crystal_layer);
    d.shift = affine.shift(crystal, crystal_layer);
    d.relu = layer.flags & kRelu;
    d.residual = layer.flags & kResidual ? h.data() : nullptr;
    d.wide = plan.residual || last ? h.data() : nullptr;
    d.wide_stride = plan.wide_stride;
    d.narrow = last ? nullptr : out;
    d.raw = kept(&Saved::raw, i);
    d.stride = plan.stride;
    d.paired = kept(&Saved::in, i + 1);
    d.pair_stride = plan.width;
    isa.dense(d);
    in = out;
  }
  isa.project(h.data(), plan.wide_stride, rows, plan.width, plan.head.data(), z.data());
  for (std::int64_t row = 0; row < rows; ++row) z[row] += plan.decoder.head_bias[0];
}

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

}  // namespace film

void film_decode(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                 std::int64_t n_points, const float* points, bool bf16, int n_threads, float* out) {
  using namespace film;
  check(decoder);
  if (crystals == 0 || n_points == 0) return;
  const Plan plan(decoder, kernels(bf16), n_threads);
  const Affine affine(plan, crystals, film);
  const Tiles tiles(n_points, plan.isa.tile);
  // The position branch is shared by the crystals of an item; a few items a thread keep all of them busy.
  const std::int64_t groups = std::clamp<std::int64_t>(8 * n_threads / tiles.count, 1, crystals);
  const std::int64_t items = tiles.count * groups, workers = std::min<std::int64_t>(n_threads, items);
  std::atomic<std::int64_t> next{0};
  parallel_for(workers, n_threads, [&](std::int64_t) {
    Tile tile(plan, rounded_up(tiles.size, plan.isa.rows));
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

}  // namespace crystalnet
