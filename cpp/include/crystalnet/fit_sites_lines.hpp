// The reflections that fit_sites uses, as its loops want them, on CPU and GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "crystalnet/fit_sites.hpp"
#include "crystalnet/host_device.hpp"
#include "crystalnet/powder_pattern.hpp"

namespace crystalnet {

// cos and sin of so many turns, in single precision: 1e-5 is far below what intensities show.
CRYSTALNET_HD inline void phase(float turns, float& cosine, float& sine) {
  const float t = turns - std::nearbyint(turns);
  const float a = 3.14159265f * t, q = a * a;  // half the angle, so that |a| ≤ π/2: Taylor series suffice
  const float s = a *
                  (1 + q * (-1 / 6.0f + q * (1 / 120.0f + q * (-1 / 5040.0f + q * (1 / 362880.0f - q / 39916800.0f)))));
  const float c = 1 + q * (-0.5f + q * (1 / 24.0f + q * (-1 / 720.0f + q * (1 / 40320.0f - q / 3628800.0f))));
  cosine = 1 - 2 * s * s;
  sine = 2 * s * c;
}

// Single precision, only groups that lie wholly in the reflections used, and those of a group side by side.
struct FitLines {
  std::int64_t count = 0, targets = 0;
  std::vector<float> h, k, l, weight;
  std::vector<double> s_squared;
  std::vector<std::int64_t> first;   // (targets + 1): group t is made of the reflections [first[t], first[t + 1])
  std::vector<double> amplitude;     // observed √I_o, or the limit of a line not seen
  std::vector<std::uint8_t> seen;
  std::vector<float> forms;          // (elements, count) form factors
  std::vector<std::int32_t> kind;    // of each atom: its row of `forms`
  double constant = 0, total = 0;    // of R²: what no reflection of the lattice explains; ΣI_o
  double least_b;                    // Å²

  FitLines(const LatticeTargets& all, std::int64_t used, const SitesBatch& crystals) : least_b(all.least_b) {
    choose(all, std::min(used, all.reflections));
    std::vector<std::int64_t> elements;
    for (std::int64_t atom = 0; atom < crystals.atom_offsets[crystals.count]; ++atom) {
      const std::int64_t z = crystals.atomic_numbers[atom];
      const auto known = std::find(elements.begin(), elements.end(), z);
      kind.push_back(static_cast<std::int32_t>(known - elements.begin()));
      if (known != elements.end()) continue;
      elements.push_back(z);
      add_element(z, crystals.form_factors + z * kFormFactorTerms * 2);
    }
  }

 private:
  void choose(const LatticeTargets& all, std::int64_t used) {
    const std::int64_t n = all.observed + all.unseen;
    std::vector<bool> whole(n, true), met(n, false);
    for (std::int64_t r = 0; r < all.reflections; ++r)
      if (all.target[r] >= 0) {
        met[all.target[r]] = true;
        if (r >= used) whole[all.target[r]] = false;
      }
    std::vector<std::int64_t> order(used);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return all.target[a] < all.target[b]; });
    auto next = order.begin();
    first.push_back(0);
    for (std::int64_t t = 0; t < n; ++t) {
      const bool is_seen = t < all.observed;
      const double value = is_seen ? all.amplitude[t] : all.limit[t - all.observed];
      if (is_seen && whole[t]) total += value * value;
      if (is_seen && !met[t]) constant += value * value;
      if (!met[t] || !whole[t]) continue;
      while (next != order.end() && all.target[*next] < t) ++next;
      for (; next != order.end() && all.target[*next] == t; ++next) {
        h.push_back(static_cast<float>(all.hkl[3 * *next]));
        k.push_back(static_cast<float>(all.hkl[3 * *next + 1]));
        l.push_back(static_cast<float>(all.hkl[3 * *next + 2]));
        weight.push_back(static_cast<float>(all.weight[*next]));
        s_squared.push_back(all.s_squared[*next]);
      }
      first.push_back(static_cast<std::int64_t>(h.size()));
      amplitude.push_back(value);
      seen.push_back(is_seen);
    }
    targets = static_cast<std::int64_t>(amplitude.size());
    count = static_cast<std::int64_t>(h.size());
  }

  void add_element(std::int64_t z, const double* terms) {
    for (const double s : s_squared) {
      double sum = 0;
      for (int t = 0; t < kFormFactorTerms; ++t) sum += terms[2 * t] * std::exp(-terms[2 * t + 1] * s);
      forms.push_back(static_cast<float>(static_cast<double>(z) - kFormFactorScale * s * sum));
    }
  }
};

}  // namespace crystalnet
