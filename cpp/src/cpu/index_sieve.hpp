// The lines at one zero shift, cells held against them at once, and the best of these cells.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <unordered_map>
#include <vector>

#include "index_lattices.hpp"
#include "index_prepared.hpp"

namespace crystalnet {

inline constexpr int kSieved = 20;     // lines that the sieve looks at: further up, every cell meets every line
inline constexpr int kBins = 8192;     // of Q, each with the mask of the lines in reach
inline constexpr int kMostLines = 90;  // calculated in the range of the sieved lines; a cell with more meets any lines
inline constexpr double kShortest = 2.0, kLongest = 50.0;  // edges, Å
inline constexpr double kSmallestVolume = 8.0;  // of a primitive cell, Å³: an atom of beryllium
inline constexpr double kWindow = 1.5;  // of the tolerance: within it a line is met
// Chance that a line of the right cell is missed by a start that is not refined yet.
inline constexpr double kCoarseMiss = 0.1;

// Whether Q of the first line of a row stands for an edge in bounds. The largest is that of hexagonal axes, 4/(3a²).
inline bool edge_allowed(double q) { return q < 1.34 / (kShortest * kShortest) && q > 1 / (kLongest * kLongest); }

struct Start {
  float gain;
  std::uint32_t mask;
  float metric[6];
};

// The best starts, one of those with equal mask and volume.
class Best {
 public:
  explicit Best(std::size_t keep) : keep_(keep) { items_.reserve(4 * keep); }
  float threshold() const { return threshold_; }
  void add(float gain, std::uint32_t mask, const double* metric) {
    if (gain <= threshold_) return;
    Start start{gain, mask, {}};
    for (int c = 0; c < 6; ++c) start.metric[c] = static_cast<float>(metric[c]);
    items_.push_back(start);
    if (items_.size() >= 4 * keep_) shrink();
  }
  std::vector<Start>& finish() {
    shrink();
    return items_;
  }

 private:
  void shrink() {
    std::sort(items_.begin(), items_.end(), [](const Start& x, const Start& y) { return x.gain > y.gain; });
    std::unordered_map<std::uint64_t, int> known;
    std::size_t kept = 0;
    for (const Start& item : items_) {
      const double g[6] = {item.metric[0], item.metric[1], item.metric[2],
                           item.metric[3], item.metric[4], item.metric[5]};
      const auto volume = static_cast<std::uint64_t>(std::lround(std::log(std::max(determinant(g), 1e-30)) * 40) +
                                                     100000);
      if (known[(volume << 32) | item.mask]++ >= 2) continue;
      items_[kept++] = item;
      if (kept == keep_) break;
    }
    items_.resize(kept);
    if (kept == keep_) threshold_ = items_.back().gain;
  }

  std::size_t keep_;
  std::vector<Start> items_;
  float threshold_ = -1e9f;
};

// The lines at one zero shift, and cells held against them.
class Sieve {
 public:
  Sieve(const Prepared& lines, double zero, double slack) : n(std::min(lines.n, kSieved)) {
    double window[kSieved];
    for (int i = 0; i < n; ++i) {
      q[i] = lines.q(i, zero);
      window[i] = (kWindow * lines.tolerance[i] + slack * lines.lever[i]) * lines.slope[i];
      // A line in every second of the places counts for nothing.
      window[i] = std::min(window[i], q[i] / 8);
    }
    q_max = q[n - 1] + window[n - 1];
    scale_ = kBins / q_max;
    sphere_ = std::pow(q_max, 1.5);
    masks_.assign(kBins + 2, 0);
    for (int i = 0; i < n; ++i) {
      const int low = std::max(0, static_cast<int>((q[i] - window[i]) * scale_ + 0.5));
      const int high = std::min(kBins, static_cast<int>((q[i] + window[i]) * scale_ + 0.5));
      for (int b = low; b <= high; ++b) masks_[b] |= 1u << i;
    }
    // A line hit by chance: 2·window·density, and the density of the N lines goes with √Q.
    std::vector<double> hit(n), missed(n);
    for (int i = 0; i < n; ++i) {
      hit[i] = -std::log(3 * window[i] * std::sqrt(q[i]) / sphere_) + std::log1p(-lines.spurious[i]);
      missed[i] = std::log(std::max(lines.spurious[i], kCoarseMiss));
      most_ += static_cast<float>(hit[i]);
      in_plane[i] = -std::log(2 * window[i] / q_max);
    }
    for (int half = 0; half < 2; ++half)
      for (int bits = 0; bits < 1024; ++bits) {
        double sum = 0;
        for (int i = 0; i < 10; ++i)
          if (const int at = i + 10 * half; at < n) sum += bits >> i & 1 ? hit[at] : missed[at];
        gains_[half][bits] = static_cast<float>(sum);
      }
    for (int count = 1; count <= 256; ++count) logs_[count] = static_cast<float>(std::log(std::max(count, 4)));
  }

  std::uint32_t mask_at(double q_calc) const { return masks_[static_cast<int>(q_calc * scale_ + 0.5)]; }

  float gain(std::uint32_t mask, int count) const {
    return gains_[0][mask & 1023] + gains_[1][mask >> 10] - std::popcount(mask) * logs_[count];
  }

  // What a cell with so many lines gains where it meets every line.
  float gain_bound(double count) const {
    return most_ - static_cast<float>(n) * logs_[std::clamp(static_cast<int>(count), 1, 256)];
  }

  // Puts the metric to the test where its size is in bounds.
  void test(const LatticeRow& row, const double* g, Best& best) const {
    const double det = determinant(g);
    if (!(det > 0)) return;
    const double volume = 1 / std::sqrt(det) / row.points;
    if (volume > kLargestVolume || volume < kSmallestVolume) return;
    // Lines expected; rows and zones hold more than their share, so that the real number is larger as a rule.
    const double expected = 4 * std::numbers::pi / 3 * volume * sphere_ / row.multiplicity;
    if (expected > kMostLines || gain_bound(0.8 * expected) < best.threshold()) return;
    std::uint32_t mask = 0;
    int count = 0;
    const bool whole = visit_lines(row, g, q_max, [&](int, int, int, double q_calc) {
      mask |= mask_at(q_calc);
      return ++count <= kMostLines + 20;
    });
    if (!whole || count == 0) return;
    best.add(gain(mask, count), mask, g);
  }

  int n;
  double q[kSieved], q_max, in_plane[kSieved];

 private:
  double scale_, sphere_;
  float most_ = 0;
  std::vector<std::uint32_t> masks_;
  float gains_[2][1024], logs_[257];
};

}  // namespace crystalnet
