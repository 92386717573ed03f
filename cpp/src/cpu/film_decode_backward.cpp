// The backward pass of film_decode: the forward pass is done again, tile by tile.
#include "crystalnet/film_decode.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "film_decode_plan.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace film {
namespace {

float sigmoid(float z) { return 1 / (1 + std::exp(-z)); }

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
    gp.clear();
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
    isa.project_backward(forward.h.data(), wide_stride, rows, plan.width, plan.head.data(), dz.data(), sum.head.data(),
                         g.data());
    for (std::int64_t i = plan.decoder.n_trunk; i-- > 0;) {
      const Layer& layer = plan.trunk[i];
      FilmBackward film = film_backward(crystal, i + 1);
      film.raw = saved.raw[i].data();
      film.relu = layer.flags & kRelu;
      film.narrow = narrow.data();
      film.paired = paired.data();
      isa.film_backward(film);
      isa.weight_backward(paired.data(), plan.width, saved.in[i].data(), plan.width, rows, sum.trunk[i].data());
      Dense d{};
      d.in[0] = narrow.data();
      d.units[0] = plan.width / isa.pair;
      d.in_stride = plan.stride;
      d.weights = transposed[i].data();
      d.rows = rows;
      d.columns = plan.width;
      d.scale = plan.ones.data();
      d.shift = zeros.data();
      d.residual = layer.flags & kResidual ? g.data() : nullptr;
      d.wide = g.data();
      d.wide_stride = wide_stride;
      isa.dense(d);
    }
    FilmBackward junction = film_backward(crystal, 0);
    junction.wide_in = forward.p.data();
    junction.relu = plan.decoder.junction_relu;
    junction.sum = gp.data();
    isa.film_backward(junction);
    return amplitude_grad;
  }

  // The position layer, once for all crystals.
  void end() {
    plan.isa.pair_rows(gp.data(), plan.wide_stride, forward.rows, plan.width, paired.data(), plan.width);
    plan.isa.weight_backward(paired.data(), plan.width, saved.features.data(), plan.feature_columns, forward.rows,
                             sum.position.data());
    for (std::int64_t row = 0; row < forward.rows; ++row)
      for (std::int64_t j = 0; j < plan.width; ++j) sum.position_bias[j] += gp[row * plan.wide_stride + j];
  }

 private:
  FilmBackward film_backward(std::int64_t crystal, std::int64_t i) const {
    FilmBackward f{};
    f.grad = g.data();
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
            [i](const WeightGradient& g) { return g.trunk[i].data(); });
    else
      total(out.position[0].weight, d.width, 2 * d.n_frequencies, plan.feature_columns,
            [](const WeightGradient& g) { return g.position.data(); });
  });
  total(out.position[0].bias, 1, d.width, plan.width, [](const WeightGradient& g) { return g.position_bias.data(); });
  total(out.head_weight, 1, d.width, plan.width, [](const WeightGradient& g) { return g.head.data(); });
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
}  // namespace film

void film_decode_backward(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                          std::int64_t n_points, const float* points, const float* grad, bool bf16, int n_threads,
                          const FilmDecoderGradient& out) {
  using namespace film;
  check(decoder);
  check_backward(decoder);
  const Plan plan(decoder, kernels(bf16), n_threads);
  const Affine affine(plan, crystals, film);
  Affine affine_grad(plan, crystals);
  const std::vector<Units> transposed = transposed_trunk(plan, n_threads);
  const Tiles tiles(std::max<std::int64_t>(n_points, 1), plan.isa.backward_tile);
  // Each crystal belongs to one thread, and threads are summed in order: the same result every time.
  const std::int64_t workers = std::clamp<std::int64_t>(crystals, 1, n_threads);
  std::vector<WeightGradient> sums(workers);
  parallel_for(workers, n_threads, [&](std::int64_t worker) {
    BackwardTile tile(plan, transposed, affine, affine_grad, rounded_up(tiles.size, plan.isa.rows));
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
