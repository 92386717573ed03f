// The Bravais lattices as rows of a table, and the lines of a metric.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace crystalnet {

// Which members of a set of equivalent reflections stand for it.
enum class Half : std::uint8_t { kOrdered, kDescending, kPositive, kMonoclinic, kTriclinic };
enum class Centring : std::uint8_t { kP, kC, kI, kF, kR };
// How starts are found: the number of lines indexed together, or zones.
enum class Road : std::uint8_t { kOne, kTwo, kThree, kZoneAcross, kZones };

struct LatticeRow {
  Half half;          // kOrdered: h ≥ k ≥ l ≥ 0; kDescending: h ≥ k ≥ 0, l ≥ 0; kPositive: all ≥ 0
  Centring centring;
  Road road;
  int free;           // metric parameters
  int form[6][6];     // the six coefficients that each free parameter stands for
  int points;         // lattice points a conventional cell
  double multiplicity;  // mean number of equivalents of a reflection
};

inline constexpr double kLargestVolume = 3000.0;  // of a primitive cell, Å³: beyond, a cell meets any 30 lines

inline constexpr LatticeRow kLattices[] = {
    {Half::kOrdered, Centring::kP, Road::kOne, 1, {{1, 1, 1, 0, 0, 0}}, 1, 48},
    {Half::kOrdered, Centring::kI, Road::kOne, 1, {{1, 1, 1, 0, 0, 0}}, 2, 48},
    {Half::kOrdered, Centring::kF, Road::kOne, 1, {{1, 1, 1, 0, 0, 0}}, 4, 48},
    {Half::kDescending, Centring::kP, Road::kTwo, 2, {{1, 1, 0, 0, 0, 1}, {0, 0, 1, 0, 0, 0}}, 1, 24},
    {Half::kDescending, Centring::kR, Road::kTwo, 2, {{1, 1, 0, 0, 0, 1}, {0, 0, 1, 0, 0, 0}}, 3, 12},
    {Half::kDescending, Centring::kP, Road::kTwo, 2, {{1, 1, 0, 0, 0, 0}, {0, 0, 1, 0, 0, 0}}, 1, 16},
    {Half::kDescending, Centring::kI, Road::kTwo, 2, {{1, 1, 0, 0, 0, 0}, {0, 0, 1, 0, 0, 0}}, 2, 16},
    {Half::kPositive, Centring::kP, Road::kThree, 3, {{1}, {0, 1}, {0, 0, 1}}, 1, 8},
    {Half::kPositive, Centring::kC, Road::kThree, 3, {{1}, {0, 1}, {0, 0, 1}}, 2, 8},
    {Half::kPositive, Centring::kI, Road::kThree, 3, {{1}, {0, 1}, {0, 0, 1}}, 2, 8},
    {Half::kPositive, Centring::kF, Road::kThree, 3, {{1}, {0, 1}, {0, 0, 1}}, 4, 8},
    {Half::kMonoclinic, Centring::kP, Road::kZoneAcross, 4, {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 0, 1}}, 1, 4},
    {Half::kMonoclinic, Centring::kC, Road::kZoneAcross, 4, {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 0, 1}}, 2, 4},
    {Half::kTriclinic,
     Centring::kP,
     Road::kZones,
     6,
     {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 1}},
     1,
     2},
};
inline constexpr int kLatticeCount = sizeof(kLattices) / sizeof(kLattices[0]);

// Determinant of the reciprocal metric, 1/Å⁶; volume = det^(−1/2).
inline double determinant(const double* g) {
  const double d = g[3] / 2, e = g[4] / 2, f = g[5] / 2;
  return g[0] * (g[1] * g[2] - d * d) - f * (f * g[2] - d * e) + e * (f * d - g[1] * e);
}

inline bool positive(const double* g) {
  return g[0] > 0 && g[1] > 0 && g[2] > 0 && 4 * g[0] * g[1] > g[5] * g[5] && 4 * g[1] * g[2] > g[3] * g[3] &&
         4 * g[0] * g[2] > g[4] * g[4] && determinant(g) > 0;
}

inline double form(const double* g, double h, double k, double l) {
  return g[0] * h * h + g[1] * k * k + g[2] * l * l + g[3] * k * l + g[4] * h * l + g[5] * h * k;
}

// Calls visit(h, k, l, q) for one of each set of equivalent reflections with q ≤ q_max, in no order of q, until it
// returns false; false then. The metric must be positive.
template <class Visit>
inline bool visit_lines(const LatticeRow& row, const double* g, double q_max, Visit&& visit) {
  const double c2 = 0.5 / g[2];
  const double b = g[1] - g[3] * g[3] * c2 / 2, f = g[5] - g[3] * g[4] * c2, a = g[0] - g[4] * g[4] * c2 / 2;
  const double b2 = 0.5 / b, lowest = a - f * f * b2 / 2;
  const bool signed_k = row.half == Half::kTriclinic;
  const bool signed_l = row.half == Half::kTriclinic || row.half == Half::kMonoclinic;
  const int h_max = static_cast<int>(std::sqrt(q_max / lowest));
  for (int h = 0; h <= h_max; ++h) {
    const double left = q_max - lowest * h * h;
    const double k_half = std::sqrt(std::max(0.0, left / b)), k_centre = -f * h * b2;
    int k_first = signed_k && h > 0 ? static_cast<int>(std::ceil(k_centre - k_half)) : 0;
    int k_last = static_cast<int>(std::floor(k_centre + k_half));
    if (row.half == Half::kOrdered || row.half == Half::kDescending) k_last = std::min(k_last, h);
    for (int k = k_first; k <= k_last; ++k) {
      if ((row.centring == Centring::kC || row.centring == Centring::kF) && ((h + k) & 1)) continue;
      const double base = g[0] * h * h + g[1] * k * k + g[5] * h * k, slope = g[3] * k + g[4] * h;
      const double disc = slope * slope - 4 * g[2] * (base - q_max);
      if (disc < 0) continue;
      const double l_half = std::sqrt(disc) * c2, l_centre = -slope * c2;
      int l_last = static_cast<int>(std::floor(l_centre + l_half));
      int l = signed_l && (h > 0 || (row.half == Half::kTriclinic && k > 0))
                  ? static_cast<int>(std::ceil(l_centre - l_half))
                  : (h == 0 && k == 0 ? 1 : 0);
      if (row.half == Half::kOrdered) l_last = std::min(l_last, k);
      int step = 1;
      if (row.centring == Centring::kI) {
        step = 2;
        l += (h + k + l) & 1;
      } else if (row.centring == Centring::kF) {
        step = 2;
        l += (h + l) & 1;
      } else if (row.centring == Centring::kR && (h - k) % 3 == 0) {
        step = 3;
        l += (3 - l % 3) % 3;
      }
      const bool skip = row.centring == Centring::kR && step == 1;
      for (; l <= l_last; l += step) {
        if (skip && l % 3 == 0) continue;
        if (!visit(h, k, l, base + (g[2] * l + slope) * l)) return false;
      }
    }
  }
  return true;
}

}  // namespace crystalnet
