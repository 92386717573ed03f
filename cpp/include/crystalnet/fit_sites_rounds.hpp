// The rounds of fit_sites for one crystal by a team of threads: a block of the GPU, or threads of the host in tests.
//
// The threads share reflections, targets and matrix elements among them. Every element is summed by one thread in a
// fixed order and sums over the team run along a fixed tree, so that results do not change from call to call. Scalars
// that decide (cost, damping) are equal in all threads. Wherever one thread reads what another wrote, the team meets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "crystalnet/fit_sites.hpp"
#include "crystalnet/fit_sites_lines.hpp"
#include "crystalnet/host_device.hpp"

namespace crystalnet {

// What a free coordinate does to an atom.
struct FitMove {
  std::int32_t atom;  // of its crystal
  float along[3];     // fractional
};

CRYSTALNET_HD inline std::int64_t triangle(std::int64_t p, std::int64_t q) { return p * (p + 1) / 2 + q; }  // q ≤ p

// A batch in one block of memory, the same on host and device: what is read, what is also written, and work space.
struct FitMemory {
  std::int64_t count, lines, targets;
  double constant, total, least_b;  // as in FitLines
  double lattice[9];
  // Read
  const float *h, *k, *l, *weight, *forms;
  const double *s_squared, *amplitude;
  const std::int64_t* first;
  const std::uint8_t* seen;
  const std::int64_t *atom_offsets, *free_offsets;
  const double *frac_coords, *directions, *hold;
  const std::int32_t *columns, *kind;
  const std::int64_t* move_offsets;  // (free coordinates + 1)
  const FitMove* moves;
  // Read and written
  double *u, *b_iso, *residual;
  // Work space
  float* position;  // (atoms, 3)
  float *real, *imag, *power;  // (count, lines) F and weight · |F|²
  double* decay;               // (count, lines) e^(−2Bs²)
  double* calculated;          // (count, targets) √I
  double* jacobian;            // (targets, free + 3) of each crystal: coordinates, B, scale; last the differences
  double* small;               // (count, small_size): see FitRounds
  std::int64_t small_size, bytes;

  // Of a team of so many threads. `staging`, unless null, becomes what is to be copied to `memory` before the rounds.
  FitMemory(const FitLines& of, const double* axes, const SitesBatch& crystals, int team, void* memory,
            std::vector<char>* staging)
      : count(crystals.count),
        lines(of.count),
        targets(of.targets),
        constant(of.constant),
        total(of.total),
        least_b(of.least_b),
        bytes(0) {
    std::copy_n(axes, 9, lattice);
    const std::int64_t atoms = crystals.atom_offsets[count], free = crystals.free_offsets[count];
    const auto take = [&](auto*& piece, std::int64_t size) {
      piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(reinterpret_cast<std::uintptr_t>(memory) +
                                                                         static_cast<std::uintptr_t>(bytes));
      bytes += (size * static_cast<std::int64_t>(sizeof(*piece)) + 15) / 16 * 16;  // so that all pieces are aligned
    };
    const auto put = [&](auto*& piece, const auto* values, std::int64_t size) {
      static_assert(sizeof(*piece) == sizeof(*values));
      const std::int64_t at = bytes;
      take(piece, size);
      if (staging == nullptr) return;
      staging->resize(bytes);
      if (size > 0) std::memcpy(staging->data() + at, values, size * sizeof(*values));
    };
    put(h, of.h.data(), lines);
    put(k, of.k.data(), lines);
    put(l, of.l.data(), lines);
    put(weight, of.weight.data(), lines);
    put(forms, of.forms.data(), static_cast<std::int64_t>(of.forms.size()));
    put(s_squared, of.s_squared.data(), lines);
    put(amplitude, of.amplitude.data(), targets);
    put(first, of.first.data(), targets + 1);
    put(seen, of.seen.data(), targets);
    put(atom_offsets, crystals.atom_offsets, count + 1);
    put(free_offsets, crystals.free_offsets, count + 1);
    put(frac_coords, crystals.frac_coords, 3 * atoms);
    put(directions, crystals.directions, 9 * atoms);
    put(hold, crystals.hold, free);
    put(columns, crystals.columns, 3 * atoms);
    put(kind, of.kind.data(), atoms);
    std::vector<std::int64_t> offsets(free + 1);
    const std::vector<FitMove> list = moves_of(crystals, offsets);
    put(move_offsets, offsets.data(), free + 1);
    put(moves, list.data(), static_cast<std::int64_t>(list.size()));
    put(u, crystals.u, free);
    put(b_iso, crystals.b_iso, count);
    take(residual, count);
    take(position, 3 * atoms);
    take(real, count * lines);
    take(imag, count * lines);
    take(power, count * lines);
    take(decay, count * lines);
    take(calculated, count * targets);
    take(jacobian, targets * (free + 3 * count));
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < count; ++i)
      most = std::max(most, crystals.free_offsets[i + 1] - crystals.free_offsets[i]);
    small_size = 2 * triangle(most + 3, 0) + 3 * (most + 2) + team;
    take(small, count * small_size);
  }

 private:
  // Those of each free coordinate in turn, and where they begin.
  static std::vector<FitMove> moves_of(const SitesBatch& crystals, std::vector<std::int64_t>& offsets) {
    const auto each = [&](const auto& visit) {
      for (std::int64_t i = 0; i < crystals.count; ++i)
        for (std::int64_t atom = crystals.atom_offsets[i]; atom < crystals.atom_offsets[i + 1]; ++atom)
          for (int c = 0; c < 3; ++c)
            if (const std::int32_t p = crystals.columns[3 * atom + c]; p >= 0)
              visit(crystals.free_offsets[i] + p, atom - crystals.atom_offsets[i], crystals.directions + 9 * atom + c);
    };
    each([&](std::int64_t p, std::int64_t, const double*) { ++offsets[p + 1]; });
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    std::vector<std::int64_t> next(offsets);
    std::vector<FitMove> moves(offsets.back());
    each([&](std::int64_t p, std::int64_t atom, const double* d) {
      moves[next[p]++] = {static_cast<std::int32_t>(atom),
                          {static_cast<float>(d[0]), static_cast<float>(d[3]), static_cast<float>(d[6])}};
    });
    return moves;
  }
};

// Team has `rank`, `size` and sync(). Every function is called by all of it.
template <class Team>
class FitRounds {
 public:
  // small: memory.small_size doubles, shared by the team.
  CRYSTALNET_HD FitRounds(const Team& team, const FitMemory& memory, std::int64_t i, double* small)
      : team_(team),
        m_(memory),
        lines_(static_cast<int>(memory.lines)),
        targets_(static_cast<int>(memory.targets)),
        first_atom_(memory.atom_offsets[i]),
        first_free_(memory.free_offsets[i]),
        atoms_(static_cast<int>(memory.atom_offsets[i + 1] - first_atom_)),
        free_(static_cast<int>(memory.free_offsets[i + 1] - first_free_)),
        parameters_(free_ + 2),
        b_iso_(memory.b_iso + i),
        residual_(memory.residual + i),
        position_(memory.position + 3 * first_atom_),
        real_(memory.real + i * lines_),
        imag_(memory.imag + i * lines_),
        power_(memory.power + i * lines_),
        decay_(memory.decay + i * lines_),
        calculated_(memory.calculated + i * targets_),
        jacobian_(memory.jacobian + targets_ * (first_free_ + 3 * i)),
        normal_(small),
        factor_(normal_ + triangle(parameters_ + 1, 0)),
        state_(factor_ + triangle(parameters_ + 1, 0)),
        tried_(state_ + parameters_),
        step_(tried_ + parameters_),
        sums_(step_ + parameters_) {}

  CRYSTALNET_HD void run(int rounds) {
    for (int p = team_.rank; p < parameters_; p += team_.size)
      state_[p] = p < free_ ? m_.u[first_free_ + p] : p == free_ ? *b_iso_ : 0.0;
    team_.sync();
    amplitudes(state_);
    const double scale = best_scale();
    if (team_.rank == 0) state_[free_ + 1] = scale;
    team_.sync();
    double misfit = differences(scale);
    at_start_ = misfit + m_.constant;
    double cost = misfit + penalty(state_);
    double damping = kFirstDamping;
    for (int round = 0; round < rounds; ++round) {
      derivatives();
      normal_equations();
      bool better = false;
      const double before = cost;
      while (damping < kMostDamping) {
        if (!solve(damping)) {
          damping *= 10;
          continue;
        }
        shorten();
        take_step();
        amplitudes(tried_);
        const double tried = differences(tried_[free_ + 1]), tried_cost = tried + penalty(tried_);
        if (tried_cost < cost) {
          for (int p = team_.rank; p < parameters_; p += team_.size) state_[p] = tried_[p];
          team_.sync();
          misfit = tried;
          cost = tried_cost;
          damping = fmax(damping / 10, kLeastDamping);
          better = true;
          break;
        }
        damping *= 10;
      }
      if (!better || before - cost < kConverged * before) break;
    }
    for (int p = team_.rank; p < free_; p += team_.size) m_.u[first_free_ + p] = state_[p];
    if (team_.rank == 0) {
      *b_iso_ = state_[free_];
      *residual_ = m_.total > 0 ? sqrt((misfit + m_.constant) / m_.total) : 1.0;
    }
  }

 private:
  // The value of the whole team, for each of it.
  template <class Combine>
  CRYSTALNET_HD double together(double value, Combine combine) const {
    sums_[team_.rank] = value;
    team_.sync();
    for (int width = team_.size; width > 1; width = (width + 1) / 2) {
      const int other = team_.rank + (width + 1) / 2;
      if (other < width) sums_[team_.rank] = combine(sums_[team_.rank], sums_[other]);
      team_.sync();
    }
    value = sums_[0];
    team_.sync();
    return value;
  }
  CRYSTALNET_HD double total(double value) const {
    return together(value, [](double a, double b) { return a + b; });
  }
  CRYSTALNET_HD double largest(double value) const {
    return together(value, [](double a, double b) { return fmax(a, b); });
  }

  // What being away from u = 0 costs.
  CRYSTALNET_HD double penalty(const double* parameters) const {
    double sum = 0;
    for (int p = team_.rank; p < free_; p += team_.size) sum += stiffness(p) * parameters[p] * parameters[p];
    return total(sum);
  }
  CRYSTALNET_HD double stiffness(int p) const { return at_start_ * m_.hold[first_free_ + p]; }

  // By how much `parameters` move an atom along axis i.
  CRYSTALNET_HD double moved(const double* parameters, int atom, int i) const {
    double sum = 0;
    for (int c = 0; c < 3; ++c) {
      const std::int32_t p = m_.columns[3 * (first_atom_ + atom) + c];
      if (p >= 0) sum += m_.directions[9 * (first_atom_ + atom) + 3 * i + c] * parameters[p];
    }
    return sum;
  }

  CRYSTALNET_HD const float* form(int atom) const {
    return m_.forms + static_cast<std::int64_t>(m_.kind[first_atom_ + atom]) * lines_;
  }

  CRYSTALNET_HD void wave(int atom, int r, float& cosine, float& sine) const {
    const float* x = position_ + 3 * atom;
    phase(m_.h[r] * x[0] + m_.k[r] * x[1] + m_.l[r] * x[2], cosine, sine);
  }

  // √I of every target.
  CRYSTALNET_HD void amplitudes(const double* parameters) {
    for (int i = team_.rank; i < 3 * atoms_; i += team_.size) {
      const double x = m_.frac_coords[3 * first_atom_ + i] + moved(parameters, i / 3, i % 3);
      position_[i] = static_cast<float>(x - floor(x));
    }
    team_.sync();
    const double b = parameters[free_];
    for (int r = team_.rank; r < lines_; r += team_.size) {
      float real = 0, imag = 0;
      for (int atom = 0; atom < atoms_; ++atom) {
        float cosine, sine;
        wave(atom, r, cosine, sine);
        real += form(atom)[r] * cosine;
        imag += form(atom)[r] * sine;
      }
      real_[r] = real;
      imag_[r] = imag;
      power_[r] = m_.weight[r] * (real * real + imag * imag);
      decay_[r] = exp(-2 * b * m_.s_squared[r]);
    }
    team_.sync();
    for (int t = team_.rank; t < targets_; t += team_.size) {
      double sum = 0;
      for (auto r = m_.first[t]; r < m_.first[t + 1]; ++r) sum += power_[r] * decay_[r];
      calculated_[t] = sqrt(sum);
    }
    team_.sync();
  }

  CRYSTALNET_HD bool counts(int t, double scale) const {
    return m_.seen[t] || scale * calculated_[t] > m_.amplitude[t];
  }

  // Σ of squares. The differences stay beside the derivatives.
  CRYSTALNET_HD double differences(double scale) {
    double cost = 0;
    for (int t = team_.rank; t < targets_; t += team_.size) {
      const double difference = counts(t, scale) ? scale * calculated_[t] - m_.amplitude[t] : 0.0;
      row(t)[parameters_] = difference;
      cost += difference * difference;
    }
    return total(cost);
  }

  CRYSTALNET_HD double best_scale() const {
    double scale = 0;
    for (int round = 0; round < kScaleRounds; ++round) {
      double signal = 0, power = 0;
      for (int t = team_.rank; t < targets_; t += team_.size)
        if (m_.seen[t] || (round > 0 && counts(t, scale))) {
          signal += calculated_[t] * m_.amplitude[t];
          power += calculated_[t] * calculated_[t];
        }
      signal = total(signal);
      power = total(power);
      scale = power > 0 ? signal / power : 0;
    }
    return scale;
  }

  // A thread a target and parameter; neighbouring threads have the same parameter, and so the same atoms to sum over.
  CRYSTALNET_HD void derivatives() {
    double strongest = 0;
    for (int t = team_.rank; t < targets_; t += team_.size)
      strongest = fmax(strongest, calculated_[t] * calculated_[t]);
    const double faint = sqrt(kFaint * largest(strongest)) + 1e-300, scale = state_[free_ + 1];
    for (int item = team_.rank; item < targets_ * parameters_; item += team_.size) {
      const int p = item / targets_, t = item % targets_;
      double value = 0;
      if (counts(t, scale)) {
        if (p <= free_) {
          for (auto r = static_cast<int>(m_.first[t]); r < m_.first[t + 1]; ++r)
            value += (p < free_ ? slope(p, r) : -2 * m_.s_squared[r] * power_[r]) * decay_[r];
          value *= scale / (2 * fmax(calculated_[t], faint));
        } else {
          value = calculated_[t];
        }
      }
      row(t)[p] = value;
    }
    team_.sync();
  }

  // Of weight · |F|² with a free coordinate: Re(conj(F) dF) · 4π weight, dF = i (h·d) f e^{2πi h·x}. The waves are made
  // anew: to keep those of every atom would take more memory than this takes time.
  CRYSTALNET_HD float slope(int p, int r) const {
    constexpr float kFourPi = 12.56637061f;
    float real = 0, imag = 0;
    for (auto i = m_.move_offsets[first_free_ + p]; i < m_.move_offsets[first_free_ + p + 1]; ++i) {
      const FitMove& move = m_.moves[i];
      float cosine, sine;
      wave(move.atom, r, cosine, sine);
      const float along = (m_.h[r] * move.along[0] + m_.k[r] * move.along[1] + m_.l[r] * move.along[2]) *
                          form(move.atom)[r];
      real -= along * sine;
      imag += along * cosine;
    }
    return kFourPi * m_.weight[r] * (real_[r] * real + imag_[r] * imag);
  }

  CRYSTALNET_HD double* row(int t) const { return jacobian_ + static_cast<std::int64_t>(t) * (parameters_ + 1); }

  // JᵀJ, with the differences as one more column: its last row is the gradient.
  CRYSTALNET_HD void normal_equations() {
    for (int item = team_.rank; item < (parameters_ + 1) * (parameters_ + 1); item += team_.size) {
      const int p = item / (parameters_ + 1), q = item % (parameters_ + 1);
      if (q > p) continue;
      double sum = 0;
      for (int t = 0; t < targets_; ++t) sum += row(t)[p] * row(t)[q];
      if (q < free_ && p == q) sum += stiffness(q);
      if (q < free_ && p == parameters_) sum += stiffness(q) * state_[q];
      normal_[triangle(p, q)] = sum;
    }
    team_.sync();
  }

  // (N + λ diag N) step = −gradient by Cholesky; false where that breaks down. The last row takes part in the
  // factorisation, which makes it the solution of the lower triangle. The diagonal keeps the squares.
  CRYSTALNET_HD bool solve(double damping) {
    const int n = parameters_;
    double most = 0;
    for (int p = 0; p < n; ++p) most = fmax(most, normal_[triangle(p, p)]);
    for (int i = team_.rank; i < triangle(n + 1, 0); i += team_.size) factor_[i] = normal_[i];
    team_.sync();
    for (int p = team_.rank; p < n; p += team_.size)
      factor_[triangle(p, p)] += damping * normal_[triangle(p, p)] + kRidge * most;
    team_.sync();
    for (int q = 0; q < n; ++q) {
      const double square = factor_[triangle(q, q)];
      if (!(square > 0)) {
        team_.sync();
        return false;
      }
      for (int p = q + 1 + team_.rank; p <= n; p += team_.size) factor_[triangle(p, q)] /= sqrt(square);
      team_.sync();
      const int rest = n - q;
      for (int item = team_.rank; item < rest * rest; item += team_.size) {
        const int p = q + 1 + item / rest, k = q + 1 + item % rest;
        if (k <= p) factor_[triangle(p, k)] -= factor_[triangle(p, q)] * factor_[triangle(k, q)];
      }
      team_.sync();
    }
    for (int p = n - 1; p >= 0; --p) {
      const double value = factor_[triangle(n, p)] / sqrt(factor_[triangle(p, p)]);
      for (int q = team_.rank; q < p; q += team_.size) factor_[triangle(n, q)] -= factor_[triangle(p, q)] * value;
      if (team_.rank == 0) step_[p] = -value;
      team_.sync();
    }
    return true;
  }

  // Shorten a step that moves an atom by more than kMostStep.
  CRYSTALNET_HD void shorten() {
    double most = 0;
    for (int atom = team_.rank; atom < atoms_; atom += team_.size) {
      double squared = 0;
      for (int j = 0; j < 3; ++j) {
        double along = 0;
        for (int i = 0; i < 3; ++i) along += moved(step_, atom, i) * m_.lattice[3 * i + j];
        squared += along * along;
      }
      most = fmax(most, sqrt(squared));
    }
    most = largest(most);
    if (most > kMostStep)
      for (int p = team_.rank; p < free_; p += team_.size) step_[p] *= kMostStep / most;
    team_.sync();
  }

  CRYSTALNET_HD void take_step() {
    for (int p = team_.rank; p < parameters_; p += team_.size) {
      const double value = state_[p] + step_[p];
      tried_[p] = p < free_    ? value
                  : p == free_ ? fmin(fmax(value, m_.least_b), kMostB)
                               : fmax(value, kLeastOfScale * state_[p]);
    }
    team_.sync();
  }

  const Team& team_;
  const FitMemory& m_;
  const int lines_, targets_;
  const std::int64_t first_atom_, first_free_;
  const int atoms_, free_, parameters_;
  double *b_iso_, *residual_;
  float *position_, *real_, *imag_, *power_;
  double *decay_, *calculated_, *jacobian_;
  double *normal_, *factor_;           // lower triangles of parameters + 1 rows
  double *state_, *tried_, *step_;     // parameters
  double* sums_;                       // a number for each of the team
  double at_start_ = 0;                    // the sum of squares at the start
};

}  // namespace crystalnet
