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
  explicit Windows(int n)
      : n_(n), m_(n - kWindow + 1), plane_(n * n), along_z_(n * m_), recent_(kWindow * m_ * m_), six_(m_ * m_) {}

  float* plane() { return plane_.data(); }  // (n, n), to be filled before each push

  // Takes plane x; from the seventh on, returns the (m, m) sums of the windows that end there.
  [[gnu::always_inline]] inline const float* push(int x, float* __restrict sums) {
    const float* p = plane_.data();
    float* __restrict along_z = along_z_.data();
    for (int y = 0; y < n_; ++y, p += n_, along_z += m_) {
      for (int z = 0; z < m_; ++z) along_z[z] = p[z] + p[z + 1] + p[z + 2] + p[z + 3] + p[z + 4] + p[z + 5] + p[z + 6];
    }
    const int size = m_ * m_;
    float* newest = recent_.data() + x % kWindow * size;
    add_seven(size, along_z_.data(), m_, newest);
    if (x + 1 < kWindow) return nullptr;
    // Two windows that follow each other have six planes in common: those are added once.
    float* __restrict six = six_.data();
    if ((x + 1) % 2 == kWindow % 2) {
      const float* plane[kWindow];
      for (int i = 0; i < kWindow; ++i) plane[i] = recent_.data() + (x - i) % kWindow * size;
      for (int i = 0; i < size; ++i) {
        six[i] = plane[0][i] + plane[1][i] + plane[2][i] + plane[3][i] + plane[4][i] + plane[5][i];
        sums[i] = six[i] + plane[6][i];
      }
    } else {
      for (int i = 0; i < size; ++i) sums[i] = six[i] + newest[i];
    }
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
  std::vector<float> plane_, along_z_, recent_, six_;
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

// Largest less smallest value, by columns as above.
CRYSTALNET_CLONES
double range(int n, const float* values) {
  std::vector<float> lows(values, values + n), highs(values, values + n);
  float *low = lows.data(), *high = highs.data();
  for (int row = 1; row < n * n; ++row) {
    values += n;
    for (int z = 0; z < n; ++z) {
      low[z] = values[z] < low[z] ? values[z] : low[z];
      high[z] = values[z] > high[z] ? values[z] : high[z];
    }
  }
  return static_cast<double>(*std::max_element(highs.begin(), highs.end())) -
         *std::min_element(lows.begin(), lows.end());
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

// A cube whose axis `inner` (0: x, 1: y, 2: z) runs along z, and z along it; backwards along the new z if flipped.
Buffer<float> exchanged(int n, const Buffer<float>& in, int inner, bool flipped) {
  std::array<int, 3> strides{n * n, n, 1};
  std::swap(strides[inner], strides[2]);
  const int step = flipped ? -strides[2] : strides[2];
  auto out = Buffer<float>::pooled(static_cast<std::size_t>(n) * n * n);
  float* to = out.data();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const float* from = in.data() + i * strides[0] + j * strides[1] + (flipped ? -step * (n - 1) : 0);
      for (int k = 0; k < n; ++k) *to++ = from[k * step];
    }
  }
  return out;
}

Map exchanged(int n, const Map& map, int inner, bool flipped = false) {
  const int m = n - kWindow + 1;
  return {map.offset, map.rest, exchanged(n, map.value, inner, flipped), exchanged(m, map.mean, inner, flipped),
          exchanged(m, map.variance, inner, flipped)};
}

// Where the x and y of a truth run in a guess whose z is its own: along its x or y, forwards or backwards.
struct Plane {
  bool crossed;  // x runs along the guess's y
  bool backwards_x, backwards_y;

  // The row (x, y) of a cube of n points an edge.
  const float* row(const Buffer<float>& cube, int n, int x, int y) const {
    if (backwards_x) x = n - 1 - x;
    if (backwards_y) y = n - 1 - y;
    return cube.data() + (crossed ? y * n + x : x * n + y) * n;
  }
};

// Sums over the truth and a guess. c1, c2: the constants of SSIM.
CRYSTALNET_CLONES
Sums compare(int n, const Map& truth, const Map& guess, const Plane& plane, float c1, float c2) {
  const int m = n - kWindow + 1, size = m * m;
  constexpr float inverse = static_cast<float>(1 / kWindowSize), unbiased = static_cast<float>(kUnbiased);
  const auto offset_t = static_cast<float>(truth.offset), offset_g = static_cast<float>(guess.offset);
  Windows windows(n);
  std::vector<float> cross(size);
  // Sums along y for each z, and of planes in double: exact enough, and no order depends on the vector width.
  std::vector<float> similar(m), errors(n);
  Sums result{0, 0};
  for (int x = 0; x < n; ++x) {
    std::fill(errors.begin(), errors.end(), 0.f);
    for (int y = 0; y < n; ++y) {
      const float* a = truth.value.data() + (x * n + y) * n;
      const float* b = plane.row(guess.value, n, x, y);
      float* __restrict product = windows.plane() + y * n;
      float* __restrict error = errors.data();
      for (int z = 0; z < n; ++z) {
        product[z] = a[z] * b[z];
        error[z] += (a[z] - b[z]) * (a[z] - b[z]);
      }
    }
    result.square_error += std::accumulate(errors.begin(), errors.end(), 0.0);
    if (windows.push(x, cross.data()) == nullptr) continue;
    const int begin = x - kWindow + 1;
    std::fill(similar.begin(), similar.end(), 0.f);
    for (int y = 0; y < m; ++y) {
      const int at = (begin * m + y) * m;
      const float *mean_t = truth.mean.data() + at, *variance_t = truth.variance.data() + at;
      const float *mean_g = plane.row(guess.mean, m, begin, y), *variance_g = plane.row(guess.variance, m, begin, y);
      const float* sums = cross.data() + y * m;
      float* __restrict total = similar.data();
      for (int z = 0; z < m; ++z) {
        const float covariance = unbiased * (sums[z] * inverse - mean_t[z] * mean_g[z]);
        const float t = mean_t[z] + offset_t, g = mean_g[z] + offset_g;
        total[z] += (2 * t * g + c1) * (2 * covariance + c2) /
                    ((t * t + g * g + c1) * (variance_t[z] + variance_g[z] + c2));
      }
    }
    result.similarity += std::accumulate(similar.begin(), similar.end(), 0.0);
  }
  return result;
}

}  // namespace

void ssim3d_rotations(const SimilarityRequest& request, int n_threads, double* ssim, double* psnr) {
  const int n = request.n, m = n - kWindow + 1, count = request.n_rotations;
  const std::int64_t size = static_cast<std::int64_t>(n) * n * n;
  const double span = range(n, request.truth);
  if (!(span > 0)) {
    std::fill_n(ssim, request.guesses * count, std::numeric_limits<double>::quiet_NaN());
    std::fill_n(psnr, request.guesses * count, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  const auto c1 = static_cast<float>(std::pow(kLuminance * span, 2));
  const auto c2 = static_cast<float>(std::pow(kContrast * span, 2));

  // A rotation needs a copy of the guess for the axis that runs along z, and one of the truth for a z that runs
  // backwards: a guess read backwards along z is the truth read backwards.
  std::array<bool, 3> inner{};
  bool any_backwards = false;
  for (int r = 0; r < count; ++r) {
    inner[request.rotations[r].axis[2]] = true;
    any_backwards |= request.rotations[r].flipped[2];
  }

  std::vector<std::array<Map, 3>> guesses(request.guesses);  // by the axis along z
  Map truth, backwards;
  parallel_for(request.guesses + 1, n_threads, [&](std::int64_t item) {
    if (item < request.guesses) {
      guesses[item][2] = make_map(n, request.guess + item * size);
    } else {
      truth = make_map(n, request.truth);
      if (any_backwards) backwards = exchanged(n, truth, 2, true);
    }
  });
  parallel_for(request.guesses * 2, n_threads, [&](std::int64_t item) {
    auto& copies = guesses[item / 2];
    const int axis = static_cast<int>(item % 2);
    if (inner[axis]) copies[axis] = exchanged(n, copies[2], axis);
  });
  parallel_for(request.guesses * count, n_threads, [&](std::int64_t item) {
    const Rotation& rotation = request.rotations[item % count];
    const int along_z = rotation.axis[2];
    const Map& guess = guesses[item / count][along_z];
    // In the copy the axis that was exchanged with z stands where `along_z` was.
    const Plane plane{(rotation.axis[0] == 2 ? along_z : rotation.axis[0]) == 1, rotation.flipped[0],
                      rotation.flipped[1]};
    const Sums sums = compare(n, rotation.flipped[2] ? backwards : truth, guess, plane, c1, c2);
    const double shift = truth.offset - guess.offset;
    const double error = sums.square_error / static_cast<double>(size) +
                         shift * (2 * (truth.rest - guess.rest) + shift);
    ssim[item] = sums.similarity / (static_cast<double>(m) * m * m);
    psnr[item] = 10 * std::log10(span * span / std::max(error, kLeastError));
  });
}

}  // namespace crystalnet
