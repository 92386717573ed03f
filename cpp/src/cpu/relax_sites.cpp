#include "crystalnet/relax_sites.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "clones.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

constexpr double kNoDistance = 1e-3;  // Å: nearer atoms have no direction
constexpr double kRounded = 1.0001;   // of a square in single precision: what it leaves out does not matter
constexpr double kNoLimit = 1e6;  // Å: farther than any atom of a cell
constexpr float kNowhere = 1e9F;      // Å: where images are that fill up the lanes
constexpr std::int64_t kLanes = 16;   // of single precision in the widest registers

struct Neighbour {
  double scaled, distance;
  std::int64_t atom;
  std::array<double, 3> vector;
};

// Å² of the images of a vector (x, y, z) Å, each moved by a shift, in single precision; returns the least. `images` is
// a multiple of kLanes.
CRYSTALNET_CLONES
float squares(std::int64_t images, const float* a, const float* b, const float* c, float x, float y, float z,
              float* squared) {
  std::array<float, kLanes> least;
  least.fill(std::numeric_limits<float>::max());
  for (std::int64_t m = 0; m < images; m += kLanes)
    for (std::int64_t k = 0; k < kLanes; ++k) {
      const float dx = x + a[m + k], dy = y + b[m + k], dz = z + c[m + k];
      const float own = dx * dx + dy * dy + dz * dz;
      squared[m + k] = own;
      least[k] = own < least[k] ? own : least[k];
    }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2)
    for (std::int64_t k = 0; k < half; ++k) least[k] = least[k + half] < least[k] ? least[k + half] : least[k];
  return least[0];
}

class Relaxed {
 public:
  explicit Relaxed(const UsualDistances& usual)
      : usual_(usual),
        x_(3 * usual.atoms),
        force_(3 * usual.atoms),
        moved_(3 * usual.atoms),
        gradient_(usual.free),
        images_(usual.images),
        squared_((usual.images + kLanes - 1) / kLanes * kLanes) {
    for (auto& axis : shift_) axis.assign(squared_.size(), kNowhere);
    for (std::int64_t m = 0; m < usual.images; ++m) {
      images_[m] = cartesian(usual.shifts + 3 * m);
      for (int j = 0; j < 3; ++j) shift_[j][m] = static_cast<float>(images_[m][j]);
    }
  }

  double run(std::int64_t steps, const double* lengths, double* u) {
    for (std::int64_t step = 0; step < steps; ++step) {
      if (terms(u) == 0) return 0;  // nothing pulls
      descend(lengths[step], u);
    }
    return terms(u);
  }

 private:
  // moved (atoms, 3) fractional: D · u.
  void move(const double* u, double* moved) const {
    for (std::int64_t a = 0; a < usual_.atoms; ++a)
      for (int i = 0; i < 3; ++i) {
        moved[3 * a + i] = 0;
        for (int k = 0; k < 3; ++k)
          if (const std::int32_t p = usual_.columns[3 * a + k]; p >= 0)
            moved[3 * a + i] += usual_.directions[9 * a + 3 * i + k] * u[p];
      }
  }

  std::array<double, 3> cartesian(const double* x) const {
    std::array<double, 3> at{};
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) at[j] += x[i] * usual_.lattice[3 * i + j];
    return at;
  }

  // The strain; its gradient is left in gradient_.
  double terms(const double* u) {
    move(u, x_.data());
    for (std::int64_t k = 0; k < 3 * usual_.atoms; ++k) {
      x_[k] += usual_.frac_coords[k];
      if (!std::isfinite(x_[k])) return std::numeric_limits<double>::quiet_NaN();  // no distance would be too short
    }
    std::fill(force_.begin(), force_.end(), 0.0);
    double strain = 0;
    for (std::int64_t o = 0; o < usual_.orbits; ++o) strain += usual_.share[o] * around(o);
    std::fill(gradient_.begin(), gradient_.end(), 0.0);
    for (std::int64_t a = 0; a < usual_.atoms; ++a)
      for (int i = 0; i < 3; ++i) {
        double slope = 0;
        for (int j = 0; j < 3; ++j) slope += force_[3 * a + j] * usual_.lattice[3 * i + j];
        for (int k = 0; k < 3; ++k)
          if (const std::int32_t p = usual_.columns[3 * a + k]; p >= 0)
            gradient_[p] += usual_.directions[9 * a + 3 * i + k] * slope;
      }
    return strain;
  }

  // The strain of one orbit's atom; its forces are added.
  double around(std::int64_t orbit) {
    const std::int64_t centre = usual_.one[orbit];
    const double* longest = usual_.longest + kNeighbours * orbit;
    std::array<Neighbour, kNeighbours> near;
    int count = 0;
    double strain = 0;
    for (std::int64_t a = 0; a < usual_.atoms; ++a) {
      if (a == centre) continue;
      const double shortest = usual_.shortest[orbit * usual_.atoms + a];
      const double sum = usual_.sums[orbit * usual_.atoms + a];
      const bool bonded = longest[0] > 0 && usual_.anion[a];
      double apart[3];
      for (int i = 0; i < 3; ++i) {
        apart[i] = x_[3 * a + i] - x_[3 * centre + i];
        apart[i] -= std::nearbyint(apart[i]);
      }
      const auto nearest = cartesian(apart);
      const auto limit = [&] {  // Å² beyond which an image does not matter
        const double farthest = count == kNeighbours ? near[kNeighbours - 1].scaled * sum : kNoLimit;
        const double reach = bonded ? std::max(shortest, farthest) : shortest;
        return kRounded * reach * reach;
      };
      const float least = squares(static_cast<std::int64_t>(squared_.size()), shift_[0].data(), shift_[1].data(),
                                  shift_[2].data(), static_cast<float>(nearest[0]), static_cast<float>(nearest[1]),
                                  static_cast<float>(nearest[2]), squared_.data());
      if (least > limit()) continue;
      for (std::int64_t m = 0; m < usual_.images; ++m) {
        if (squared_[m] > limit()) continue;
        const auto& image = images_[m];
        const std::array<double, 3> vector{nearest[0] + image[0], nearest[1] + image[1], nearest[2] + image[2]};
        const double distance = std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
        if (distance < shortest) {
          const double short_by = 1 - distance / shortest;
          strain += short_by * short_by;
          push(orbit, a, vector, distance, -2 * short_by / shortest);
        }
        if (bonded) count = insert(near, count, {distance / sum, distance, a, vector});
      }
    }
    for (int k = 0; k < count; ++k) {
      const double far = std::min(std::max(near[k].scaled / longest[k] - 1, 0.0), kNoBond);
      if (far == 0) continue;
      strain += far * far;
      const double sum = usual_.sums[orbit * usual_.atoms + near[k].atom];
      push(orbit, near[k].atom, near[k].vector, near[k].distance, 2 * far / longest[k] / sum);
    }
    return strain;
  }

  static int insert(std::array<Neighbour, kNeighbours>& near, int count, const Neighbour& one) {
    int place = count;
    while (place > 0 && near[place - 1].scaled > one.scaled) --place;
    if (place == kNeighbours) return count;
    const int last = std::min(count, kNeighbours - 1);
    for (int k = last; k > place; --k) near[k] = near[k - 1];
    near[place] = one;
    return std::min(count + 1, kNeighbours);
  }

  void push(std::int64_t orbit, std::int64_t atom, const std::array<double, 3>& vector, double distance, double slope) {
    const double each = usual_.share[orbit] * slope / std::max(distance, kNoDistance);
    for (int j = 0; j < 3; ++j) {
      force_[3 * atom + j] += each * vector[j];
      force_[3 * usual_.one[orbit] + j] -= each * vector[j];
    }
  }

  void descend(double length, double* u) {
    move(gradient_.data(), moved_.data());
    double most = 0;
    for (std::int64_t a = 0; a < usual_.atoms; ++a) {
      const auto along = cartesian(moved_.data() + 3 * a);
      most = std::max(most, along[0] * along[0] + along[1] * along[1] + along[2] * along[2]);
    }
    const double factor = std::min(length / std::max(std::sqrt(most), 1e-12), kStiff);
    for (std::int64_t p = 0; p < usual_.free; ++p) u[p] -= factor * gradient_[p];
  }

  const UsualDistances& usual_;
  std::vector<double> x_, force_, moved_, gradient_;
  std::vector<std::array<double, 3>> images_;  // Å
  std::array<std::vector<float>, 3> shift_;  // the same, an axis at a time
  std::vector<float> squared_;
};

}  // namespace

void relax_sites(const UsualDistances& usual, std::int64_t count, std::int64_t steps, const double* lengths,
                 int n_threads, double* u, double* strain) {
  parallel_for(count, n_threads,
               [&](std::int64_t i) { strain[i] = Relaxed(usual).run(steps, lengths, u + i * usual.free); });
}

}  // namespace crystalnet
