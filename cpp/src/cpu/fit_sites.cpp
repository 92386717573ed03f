#include "crystalnet/fit_sites.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "clones.hpp"
#include "crystalnet/fit_sites_lines.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

constexpr double kSamePlace = 1e-6;  // fractional

// cos and sin of 2π h·x for every reflection.
CRYSTALNET_CLONES
void phases(std::int64_t n, const float* h, const float* k, const float* l, float x, float y, float z, float* cosine,
            float* sine) {
  for (std::int64_t r = 0; r < n; ++r) phase(h[r] * x + k[r] * y + l[r] * z, cosine[r], sine[r]);
}

CRYSTALNET_CLONES
void add_atom(std::int64_t n, const float* form, const float* cosine, const float* sine, float* real, float* imag) {
  for (std::int64_t r = 0; r < n; ++r) {
    real[r] += form[r] * cosine[r];
    imag[r] += form[r] * sine[r];
  }
}

// dF/du of one atom and coordinate, without the factor 2π: i (h·d) f e^{2πi h·x}.
CRYSTALNET_CLONES
void add_slope(std::int64_t n, const float* h, const float* k, const float* l, float x, float y, float z,
               const float* form, const float* cosine, const float* sine, float* real, float* imag) {
  for (std::int64_t r = 0; r < n; ++r) {
    const float along = (h[r] * x + k[r] * y + l[r] * z) * form[r];
    real[r] -= along * sine[r];
    imag[r] += along * cosine[r];
  }
}

// The same two of an atom and its image in the centre of symmetry, from which x counts (share 2), or of an atom on it
// (1).
CRYSTALNET_CLONES
void add_centred(std::int64_t n, float share, const float* form, const float* cosine, float* real) {
  for (std::int64_t r = 0; r < n; ++r) real[r] += share * form[r] * cosine[r];
}

CRYSTALNET_CLONES
void add_centred_slope(std::int64_t n, float share, const float* h, const float* k, const float* l, float x, float y,
                       float z, const float* form, const float* sine, float* real) {
  for (std::int64_t r = 0; r < n; ++r) real[r] -= share * (h[r] * x + k[r] * y + l[r] * z) * form[r] * sine[r];
}

// Re(conj(F) dF) · 4π weight, the derivative of weight · |F|²; and weight · |F|² itself.
CRYSTALNET_CLONES
void intensity_slope(std::int64_t n, const float* weight, const float* real, const float* imag, const float* slope_real,
                     const float* slope_imag, float* out) {
  constexpr float kFourPi = 12.56637061f;
  for (std::int64_t r = 0; r < n; ++r)
    out[r] = kFourPi * weight[r] * (real[r] * slope_real[r] + imag[r] * slope_imag[r]);
}

CRYSTALNET_CLONES
void intensities(std::int64_t n, const float* weight, const float* real, const float* imag, float* out) {
  for (std::int64_t r = 0; r < n; ++r) out[r] = weight[r] * (real[r] * real[r] + imag[r] * imag[r]);
}

class Fit {
 public:
  Fit(const FitLines& lines, const double* lattice, const SitesBatch& batch, std::int64_t i)
      : lines_(lines),
        lattice_(lattice),
        batch_(batch),
        first_(batch.atom_offsets[i]),
        atoms_(batch.atom_offsets[i + 1] - first_),
        free_(batch.free_offsets[i + 1] - batch.free_offsets[i]),
        parameters_(free_ + 2),
        u_(batch.u + batch.free_offsets[i]),
        hold_(batch.hold + batch.free_offsets[i]),
        real_(lines.count),
        imag_(lines.count),
        cosine_(lines.count * atoms_),
        sine_(lines.count * atoms_),
        single_(lines.count),
        slope_real_(lines.count),
        slope_imag_(lines.count),
        jacobian_(lines.targets * parameters_),
        residuals_(lines.targets),
        calculated_(lines.targets) {
    centred_ = find_centre();
    if (!centred_) {
      centre_ = {};
      summed_.clear();
      for (std::int64_t a = 0; a < atoms_; ++a) summed_.push_back({a, 1.0f});
    }
  }

  // R after at most so many rounds; u and B as they became.
  double run(int rounds, double& b_iso) {
    b_ = b_iso;
    std::vector<double> u(u_, u_ + free_);
    double misfit = evaluate(u, true);
    at_start_ = misfit + lines_.constant;
    double cost = misfit + penalty(u);
    double damping = kFirstDamping;
    for (int round = 0; round < rounds; ++round) {
      normal_equations(u);
      bool better = false;
      double before = cost;
      while (damping < kMostDamping) {
        std::vector<double> step;
        if (!solve(damping, step)) {
          damping *= 10;
          continue;
        }
        limit(step);
        const std::vector<double> kept = u;
        const double kept_b = b_, kept_scale = scale_;
        for (std::int64_t p = 0; p < free_; ++p) u[p] += step[p];
        b_ = std::clamp(b_ + step[free_], lines_.least_b, kMostB);
        scale_ = std::max(scale_ + step[free_ + 1], kLeastOfScale * scale_);
        const double tried = evaluate(u, false), tried_cost = tried + penalty(u);
        if (tried_cost < cost) {
          misfit = tried;
          cost = tried_cost;
          damping = std::max(damping / 10, kLeastDamping);
          better = true;
          break;
        }
        u = kept;
        b_ = kept_b;
        scale_ = kept_scale;
        damping *= 10;
      }
      if (!better || before - cost < kConverged * before) break;
      if (round + 1 < rounds) derivatives();
    }
    std::copy(u.begin(), u.end(), u_);
    b_iso = b_;
    return lines_.total > 0 ? std::sqrt((misfit + lines_.constant) / lines_.total) : 1.0;
  }

 private:
  struct Summed {
    std::int64_t atom;
    float share;
  };

  // Whether there is a centre of symmetry, wherever the coordinates move; summed_ is then one atom of each pair.
  bool find_centre() {
    for (std::int64_t image = 0; image < atoms_; ++image) {
      for (int i = 0; i < 3; ++i)
        centre_[i] = (batch_.frac_coords[3 * first_ + i] + batch_.frac_coords[3 * (first_ + image) + i]) / 2;
      if (is_image(0, image) && pairs()) return true;
    }
    return false;
  }

  bool pairs() {
    std::vector<char> paired(atoms_, 0);
    summed_.clear();
    for (std::int64_t a = 0; a < atoms_; ++a) {
      if (paired[a]) continue;
      std::int64_t image = a;
      while (image < atoms_ && (paired[image] || !is_image(a, image))) ++image;
      if (image == atoms_) return false;
      paired[a] = paired[image] = 1;
      summed_.push_back({a, image == a ? 1.0f : 2.0f});
    }
    return true;
  }

  bool is_image(std::int64_t a, std::int64_t b) const {
    const std::int64_t one = first_ + a, other = first_ + b;
    if (lines_.kind[one] != lines_.kind[other]) return false;
    for (int i = 0; i < 3; ++i) {
      const double apart = batch_.frac_coords[3 * one + i] + batch_.frac_coords[3 * other + i] - 2 * centre_[i];
      if (!(std::abs(apart - std::nearbyint(apart)) <= kSamePlace)) return false;  // nor is NaN an image
      if (batch_.columns[3 * one + i] != batch_.columns[3 * other + i]) return false;
      if (batch_.columns[3 * one + i] >= 0)
        for (int j = 0; j < 3; ++j)
          if (std::abs(batch_.directions[9 * one + 3 * j + i] + batch_.directions[9 * other + 3 * j + i]) > kSamePlace)
            return false;
    }
    return true;
  }

  // What being away from u = 0 costs.
  double penalty(const std::vector<double>& u) const {
    double sum = 0;
    for (std::int64_t p = 0; p < free_; ++p) sum += hold_[p] * u[p] * u[p];
    return at_start_ * sum;
  }

  // Σ of squares; `fresh`: the scale that fits best, and the derivatives.
  double evaluate(const std::vector<double>& u, bool fresh) {
    std::fill(real_.begin(), real_.end(), 0.0f);
    std::fill(imag_.begin(), imag_.end(), 0.0f);
    for (const auto& [a, share] : summed_) {
      const std::int64_t atom = first_ + a;
      double x[3];
      for (int i = 0; i < 3; ++i) {
        x[i] = batch_.frac_coords[3 * atom + i];
        for (int k = 0; k < 3; ++k)
          if (const std::int32_t p = batch_.columns[3 * atom + k]; p >= 0)
            x[i] += batch_.directions[9 * atom + 3 * i + k] * u[p];
        x[i] -= centre_[i];  // which changes no intensity
        x[i] -= std::floor(x[i]);
      }
      float* cosine = cosine_.data() + a * lines_.count;
      float* sine = sine_.data() + a * lines_.count;
      phases(lines_.count, lines_.h.data(), lines_.k.data(), lines_.l.data(), static_cast<float>(x[0]),
             static_cast<float>(x[1]), static_cast<float>(x[2]), cosine, sine);
      if (centred_)
        add_centred(lines_.count, share, form(a), cosine, real_.data());
      else
        add_atom(lines_.count, form(a), cosine, sine, real_.data(), imag_.data());
    }
    intensities(lines_.count, lines_.weight.data(), real_.data(), imag_.data(), single_.data());
    damped(b_);
    if (fresh) scale_ = best_scale();
    double cost = 0;
    for (std::int64_t t = 0; t < lines_.targets; ++t) {
      residuals_[t] = difference(t, scale_);
      cost += residuals_[t] * residuals_[t];
    }
    if (fresh) derivatives();
    return cost;
  }

  // √I of every target with an overall B.
  void damped(double b) {
    for (std::int64_t t = 0; t < lines_.targets; ++t)
      calculated_[t] = std::sqrt(
          over(t, [&](std::int64_t r) { return single_[r] * std::exp(-2 * b * lines_.s_squared[r]); }));
  }

  double difference(std::int64_t t, double scale) const {
    const double excess = scale * calculated_[t] - lines_.amplitude[t];
    return lines_.seen[t] || excess > 0 ? excess : 0.0;
  }

  double best_scale() const {
    double scale = 0;
    for (int round = 0; round < kScaleRounds; ++round) {
      double signal = 0, power = 0;
      for (std::int64_t t = 0; t < lines_.targets; ++t)
        if (lines_.seen[t] || (round > 0 && scale * calculated_[t] > lines_.amplitude[t])) {
          signal += calculated_[t] * lines_.amplitude[t];
          power += calculated_[t] * calculated_[t];
        }
      scale = power > 0 ? signal / power : 0;
    }
    return scale;
  }

  void derivatives() {
    double strongest = 0;
    for (const double value : calculated_) strongest = std::max(strongest, value * value);
    const double faint = std::sqrt(kFaint * strongest) + 1e-300;
    std::vector<double> decay(lines_.count);
    for (std::int64_t r = 0; r < lines_.count; ++r) decay[r] = std::exp(-2 * b_ * lines_.s_squared[r]);
    for (std::int64_t t = 0; t < lines_.targets; ++t)
      at(t, free_) = over(t, [&](std::int64_t r) { return -(2 * lines_.s_squared[r] * single_[r] * decay[r]); });
    std::vector<float> slope(lines_.count);
    for (std::int64_t p = 0; p < free_; ++p) {
      std::fill(slope_real_.begin(), slope_real_.end(), 0.0f);
      std::fill(slope_imag_.begin(), slope_imag_.end(), 0.0f);
      for (const auto& [a, share] : summed_)
        for (int k = 0; k < 3; ++k)
          if (batch_.columns[3 * (first_ + a) + k] == p) {
            const double* d = batch_.directions + 9 * (first_ + a) + k;
            const auto x = static_cast<float>(d[0]), y = static_cast<float>(d[3]), z = static_cast<float>(d[6]);
            const float *h = lines_.h.data(), *kk = lines_.k.data(), *l = lines_.l.data();
            const float *cosine = cosine_.data() + a * lines_.count, *sine = sine_.data() + a * lines_.count;
            if (centred_)
              add_centred_slope(lines_.count, share, h, kk, l, x, y, z, form(a), sine, slope_real_.data());
            else
              add_slope(lines_.count, h, kk, l, x, y, z, form(a), cosine, sine, slope_real_.data(), slope_imag_.data());
          }
      intensity_slope(lines_.count, lines_.weight.data(), real_.data(), imag_.data(), slope_real_.data(),
                      slope_imag_.data(), slope.data());
      for (std::int64_t t = 0; t < lines_.targets; ++t)
        at(t, p) = over(t, [&](std::int64_t r) { return slope[r] * decay[r]; });
    }
    for (std::int64_t t = 0; t < lines_.targets; ++t) {
      const bool counts = lines_.seen[t] || scale_ * calculated_[t] > lines_.amplitude[t];
      const double half = counts ? scale_ / (2 * std::max(calculated_[t], faint)) : 0.0;
      for (std::int64_t p = 0; p <= free_; ++p) at(t, p) *= half;
      at(t, free_ + 1) = counts ? calculated_[t] : 0.0;
    }
  }

  const float* form(std::int64_t atom) const { return lines_.forms.data() + lines_.kind[first_ + atom] * lines_.count; }

  // The sum over the reflections of a target.
  template <class Value>
  double over(std::int64_t target, const Value& value) const {
    double sum = 0;
    for (std::int64_t r = lines_.first[target]; r < lines_.first[target + 1]; ++r) sum += value(r);
    return sum;
  }

  double& at(std::int64_t target, std::int64_t parameter) { return jacobian_[target * parameters_ + parameter]; }

  void normal_equations(const std::vector<double>& u) {
    const std::int64_t n = parameters_;
    normal_.assign(n * n, 0.0);
    gradient_.assign(n, 0.0);
    for (std::int64_t t = 0; t < lines_.targets; ++t) {
      const double* row = jacobian_.data() + t * n;
      for (std::int64_t p = 0; p < n; ++p) {
        if (row[p] == 0) continue;
        gradient_[p] += row[p] * residuals_[t];
        for (std::int64_t q = 0; q <= p; ++q) normal_[p * n + q] += row[p] * row[q];
      }
    }
    for (std::int64_t p = 0; p < free_; ++p) {
      gradient_[p] += at_start_ * hold_[p] * u[p];
      normal_[p * n + p] += at_start_ * hold_[p];
    }
  }

  // (N + λ diag N) step = −gradient by Cholesky; false where that breaks down.
  bool solve(double damping, std::vector<double>& step) const {
    const std::int64_t n = parameters_;
    std::vector<double> lower(normal_);
    double largest = 0;
    for (std::int64_t p = 0; p < n; ++p) largest = std::max(largest, normal_[p * n + p]);
    for (std::int64_t p = 0; p < n; ++p) lower[p * n + p] += damping * normal_[p * n + p] + kRidge * largest;
    for (std::int64_t p = 0; p < n; ++p)
      for (std::int64_t q = 0; q <= p; ++q) {
        double sum = lower[p * n + q];
        for (std::int64_t k = 0; k < q; ++k) sum -= lower[p * n + k] * lower[q * n + k];
        if (p == q) {
          if (!(sum > 0)) return false;
          lower[p * n + p] = std::sqrt(sum);
        } else {
          lower[p * n + q] = sum / lower[q * n + q];
        }
      }
    step.assign(n, 0.0);
    for (std::int64_t p = 0; p < n; ++p) {
      double sum = -gradient_[p];
      for (std::int64_t k = 0; k < p; ++k) sum -= lower[p * n + k] * step[k];
      step[p] = sum / lower[p * n + p];
    }
    for (std::int64_t p = n - 1; p >= 0; --p) {
      double sum = step[p];
      for (std::int64_t k = p + 1; k < n; ++k) sum -= lower[k * n + p] * step[k];
      step[p] = sum / lower[p * n + p];
    }
    return true;
  }

  // Shorten a step that moves an atom by more than kMostStep.
  void limit(std::vector<double>& step) const {
    double most = 0;
    for (std::int64_t a = 0; a < atoms_; ++a) {
      double moved[3] = {0, 0, 0}, along[3] = {0, 0, 0};
      for (int i = 0; i < 3; ++i)
        for (int k = 0; k < 3; ++k)
          if (const std::int32_t p = batch_.columns[3 * (first_ + a) + k]; p >= 0)
            moved[i] += batch_.directions[9 * (first_ + a) + 3 * i + k] * step[p];
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) along[j] += moved[i] * lattice_[3 * i + j];
      most = std::max(most, std::sqrt(along[0] * along[0] + along[1] * along[1] + along[2] * along[2]));
    }
    if (most > kMostStep)
      for (std::int64_t p = 0; p < free_; ++p) step[p] *= kMostStep / most;
  }

  const FitLines& lines_;
  const double* lattice_;
  const SitesBatch& batch_;
  const std::int64_t first_, atoms_, free_, parameters_;
  double* u_;
  const double* hold_;
  std::vector<float> real_, imag_, cosine_, sine_, single_, slope_real_, slope_imag_;
  std::vector<double> jacobian_, residuals_, calculated_, normal_, gradient_;
  std::vector<Summed> summed_;  // atoms over which structure factors are summed
  std::array<double, 3> centre_{};
  bool centred_ = false;
  double b_ = 0, scale_ = 0, at_start_ = 0;
};

}  // namespace

void fit_sites(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds,
               int n_threads) {
  const FitLines lines(targets, used, crystals);
  parallel_for(crystals.count, n_threads, [&](std::int64_t i) {
    crystals.residual[i] = Fit(lines, targets.lattice, crystals, i).run(rounds, crystals.b_iso[i]);
  });
}

}  // namespace crystalnet
