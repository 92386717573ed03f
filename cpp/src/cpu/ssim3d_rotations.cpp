#include "crystalnet/ssim3d_rotations.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "buffer.hpp"
#include "clones.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

using Axes = std::array<int, 3>;

// A map relative to its mean, and its windows.
struct Map {
  double offset;          // the mean
  double rest;            // mean of `value`: what rounding left
  Buffer<float> value;           // (n, n, n)
  Buffer<float> mean, variance;  // (m, m, m), m = n − 6: mean of `value` and unbiased variance in each window
};

struct Sums {
  double similarity, square_error;
};

// Sums over the windows of a field that arrives plane by plane.
class Windows {
 public:
  explicit Windows(int n) : n_(n), m_(n - kWindow + 1), plane_(n * n), along_z_(n * m_), recent_(kWindow * m_ * m_) {}

  float* plane() { return plane_.data(); }  // (n, n), to be filled before each push

  // Takes plane x; from the seventh on, returns the (m, m) sums of the windows that end there.
  [[gnu::always_inline]] inline const float* push(int x, float* __restrict sums) {
    const float* p = plane_.data();
    float* __restrict along_z = along_z_.data();
    for (int y = 0; y < n_; ++y, p += n_, along_z += m_) {
      for (int z = 0; z < m_; ++z) along_z[z] = p[z] + p[z + 1] + p[z + 2] + p[z + 3] + p[z + 4] + p[z + 5] + p[z + 6];
    }
    const int size = m_ * m_;
    add_seven(size, along_z_.data(), m_, recent_.data() + x % kWindow * size);
    if (x + 1 < kWindow) return nullptr;
    add_seven(size, recent_.data(), size, sums);
    return sums;
  }

 private:
  static inline void add_seven(int size, const float* p, int step, float* __restrict out) {
    for (int i = 0; i < size; ++i) {
      out[i] = p[i] + p[i + step] + p[i + 2 * step] + p[i + 3 * step] + p[i + 4 * step] + p[i + 5 * step] +
               p[i + 6 * step];
    }
  }

  int n_, m_;
  std::vector<float> plane_, along_z_, recent_;
};

CRYSTALNET_CLONES
void window_statistics(int n, Map& map) {
  const int m = n - kWindow + 1, size = m * m;
  constexpr float inverse = static_cast<float>(1 / kWindowSize), unbiased = static_cast<float>(kUnbiased);
  Windows first(n), second(n);
  std::vector<float> sums(size), squares(size);
  for (int x = 0; x < n; ++x) {
    const float* v = map.value.data() + x * n * n;
    float *p = first.plane(), *q = second.plane();
    for (int i = 0; i < n * n; ++i) {
      p[i] = v[i];
      q[i] = v[i] * v[i];
    }
    const bool ready = first.push(x, sums.data()) != nullptr;
    second.push(x, squares.data());
    if (!ready) continue;
    float* mean = map.mean.data() + (x - kWindow + 1) * size;
    float* variance = map.variance.data() + (x - kWindow + 1) * size;
    for (int i = 0; i < size; ++i) {
      mean[i] = sums[i] * inverse;
      variance[i] = unbiased * (squares[i] * inverse - mean[i] * mean[i]);
    }
  }
}

// In n sums side by side, which vectorise, and in an order that does not depend on the vector width.
CRYSTALNET_CLONES
double mean(int n, const float* values) {
  std::vector<double> sums(n);
  double* sum = sums.data();
  for (int row = 0; row < n * n; ++row, values += n) {
    for (int z = 0; z < n; ++z) sum[z] += values[z];
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0) / (static_cast<double>(n) * n * n);
}

Map make_map(int n, const float* values) {
  const std::size_t size = static_cast<std::size_t>(n) * n * n, m = n - kWindow + 1;
  Map map{mean(n, values), 0, Buffer<float>::pooled(size), Buffer<float>::pooled(m * m * m),
          Buffer<float>::pooled(m * m * m)};
  for (std::size_t i = 0; i < size; ++i) map.value[i] = static_cast<float>(values[i] - map.offset);
  map.rest = mean(n, map.value.data());
  window_statistics(n, map);
  return map;
}

// Axis a of the result is axis `axes[a]` of the array, the last one backwards if flip_z.
Buffer<float> turned(int n, const Buffer<float>& in, const Axes& axes, bool flip_z) {
  const int strides[3] = {n * n, n, 1};
  const int step = flip_z ? -strides[axes[2]] : strides[axes[2]];
  auto out = Buffer<float>::pooled(static_cast<std::size_t>(n) * n * n);
  float* to = out.data();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const float* from = in.data() + i * strides[axes[0]] + j * strides[axes[1]] + (flip_z ? -step * (n - 1) : 0);
      for (int k = 0; k < n; ++k) *to++ = from[k * step];
    }
  }
  return out;
}

Map turned(int n, const Map& map, const Axes& axes, bool flip_z = false) {
  const int m = n - kWindow + 1;
  return {map.offset, map.rest, turned(n, map.value, axes, flip_z), turned(m, map.mean, axes, flip_z),
          turned(m, map.variance, axes, flip_z)};
}

// Sums over the truth and a guess of which x or y run backwards. c1, c2: the constants of SSIM.
CRYSTALNET_CLONES
Sums compare(int n, const Map& truth, const Map& guess, bool flip_x, bool flip_y, float c1, float c2) {
  const int m = n - kWindow + 1, size = m * m;
  constexpr float inverse = static_cast<float>(1 / kWindowSize), unbiased = static_cast<float>(kUnbiased);
  const auto offset_t = static_cast<float>(truth.offset), offset_g = static_cast<float>(guess.offset);
  Windows windows(n);
  std::vector<float> cross(size);
  // Sums along x and y in double for each z: exact enough, and no order of additions depends on the vector width.
  std::vector<double> similarity(m), square_error(n);
  for (int x = 0; x < n; ++x) {
    for (int y = 0; y < n; ++y) {
      const float* a = truth.value.data() + (x * n + y) * n;
      const float* b = guess.value.data() + ((flip_x ? n - 1 - x : x) * n + (flip_y ? n - 1 - y : y)) * n;
      float* product = windows.plane() + y * n;
      double* errors = square_error.data();
      for (int z = 0; z < n; ++z) {
        product[z] = a[z] * b[z];
        errors[z] += (a[z] - b[z]) * (a[z] - b[z]);
      }
    }
    if (windows.push(x, cross.data()) == nullptr) continue;
    const int begin = x - kWindow + 1;
    for (int y = 0; y < m; ++y) {
      const int at_t = (begin * m + y) * m;
      const int at_g = ((flip_x ? m - 1 - begin : begin) * m + (flip_y ? m - 1 - y : y)) * m;
      const float *mean_t = truth.mean.data() + at_t, *mean_g = guess.mean.data() + at_g;
      const float *variance_t = truth.variance.data() + at_t, *variance_g = guess.variance.data() + at_g;
      const float* sums = cross.data() + y * m;
      double* total = similarity.data();
      for (int z = 0; z < m; ++z) {
        const float covariance = unbiased * (sums[z] * inverse - mean_t[z] * mean_g[z]);
        const float t = mean_t[z] + offset_t, g = mean_g[z] + offset_g;
        total[z] += (2 * t * g + c1) * (2 * covariance + c2) /
                    ((t * t + g * g + c1) * (variance_t[z] + variance_g[z] + c2));
      }
    }
  }
  Sums result{0, 0};
  for (double value : similarity) result.similarity += value;
  for (double value : square_error) result.square_error += value;
  return result;
}

}  // namespace

void ssim3d_rotations(const SimilarityRequest& request, int n_threads, double* ssim, double* psnr) {
  const int n = request.n, m = n - kWindow + 1, count = request.n_rotations;
  const std::int64_t size = static_cast<std::int64_t>(n) * n * n;
  const auto [low, high] = std::minmax_element(request.truth, request.truth + size);
  const double span = static_cast<double>(*high) - *low;
  if (!(span > 0)) {
    std::fill_n(ssim, request.guesses * count, std::numeric_limits<double>::quiet_NaN());
    std::fill_n(psnr, request.guesses * count, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  const auto c1 = static_cast<float>(std::pow(kLuminance * span, 2));
  const auto c2 = static_cast<float>(std::pow(kContrast * span, 2));

  constexpr Axes straight{0, 1, 2};
  std::vector<Axes> orders;  // the axis orders among the rotations; flips need no copy of the guess
  bool any_flip_z = false;
  for (int r = 0; r < count; ++r) {
    const Axes axes = std::to_array(request.rotations[r].axis);
    if (std::find(orders.begin(), orders.end(), axes) == orders.end()) orders.push_back(axes);
    any_flip_z |= request.rotations[r].flipped[2];
  }

  std::vector<Map> guesses(request.guesses);
  Map truth, flipped;  // a guess read backwards along z is the truth read backwards
  parallel_for(request.guesses + 1, n_threads, [&](std::int64_t item) {
    if (item < request.guesses) {
      guesses[item] = make_map(n, request.guess + item * size);
    } else {
      truth = make_map(n, request.truth);
      if (any_flip_z) flipped = turned(n, truth, straight, true);
    }
  });
  const auto n_orders = static_cast<std::int64_t>(orders.size());
  parallel_for(request.guesses * n_orders, n_threads, [&](std::int64_t item) {
    const std::int64_t index = item / n_orders;
    const Axes axes = orders[item % n_orders];
    const Map& original = guesses[index];
    Map copy;
    if (axes != straight) copy = turned(n, original, axes);
    const Map& guess = axes == straight ? original : copy;
    const double shift = truth.offset - guess.offset;
    for (int r = 0; r < count; ++r) {
      const Rotation& rotation = request.rotations[r];
      if (std::to_array(rotation.axis) != axes) continue;
      const Sums sums = compare(n, rotation.flipped[2] ? flipped : truth, guess, rotation.flipped[0],
                                rotation.flipped[1], c1, c2);
      const double error = sums.square_error / static_cast<double>(size) +
                           shift * (2 * (truth.rest - guess.rest) + shift);
      ssim[index * count + r] = sums.similarity / (static_cast<double>(m) * m * m);
      psnr[index * count + r] = 10 * std::log10(span * span / std::max(error, kLeastError));
    }
  });
}

}  // namespace crystalnet
