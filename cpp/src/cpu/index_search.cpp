// From single lines, pairs, triples and zones of lines to cells that explain many.
#include <bit>
#include <functional>
#include <limits>
#include <unordered_map>

#include "clones.hpp"
#include "index_lattices.hpp"
#include "index_rate.hpp"
#include "parallel.hpp"

namespace crystalnet {

namespace {

constexpr int kSieved = 20;     // lines that the sieve looks at
constexpr int kBins = 8192;     // of Q, each with the mask of the lines in reach
constexpr int kMostLines = 90;  // calculated in the range of the sieved lines; a cell with more meets any lines
constexpr double kShortest = 2.0, kLongest = 50.0;  // edges, Å
constexpr double kZeroStep = 0.08;  // degrees between the zeros tried
constexpr std::size_t kZones = 400, kHalvedZones = 150, kPairedZones = 150,
                      kRectangles = 300;  // best zones that are completed
constexpr double
    kCoarseMiss = 0.1; // chance that a line of the right cell is missed by a start that is not refined yet
constexpr double kWindow = 1.5;     // of the tolerance: within it a line is met

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

  // Puts the metric to the test where its size is in bounds. `edges`: whether conventional edges are to be checked.
  void test(const LatticeRow& row, const double* g, Best& best) const {
    const double det = determinant(g);
    if (!(det > 0)) return;
    const double volume = 1 / std::sqrt(det) / row.points;
    if (volume > kLargestVolume || volume < 8) return;
    // Lines expected; rows and zones hold more than their share, so that the real number is larger as a rule.
    const double expected = 4.19 * volume * sphere_ / row.multiplicity;
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

// --- starts from one, two or three lines

struct Numbers {
  double n[3];
};

// Values of the free parameters' forms (h²+hk+k² and l², ...) of low lines, once each.
std::vector<Numbers> low_lines(const LatticeRow& row, double largest, double longest) {
  std::vector<Numbers> found;
  const double unit[6] = {1, 1, 1, 0, 0, row.form[0][5] ? 1.0 : 0.0};
  visit_lines(row, unit, std::max(largest, longest * longest), [&](int h, int k, int l, double q) {
    const bool row_line = (h != 0) + (k != 0) + (l != 0) == 1;
    if (q > largest && !row_line) return true;
    const double forms[6] = {double(h * h), double(k * k), double(l * l), double(k * l), double(h * l), double(h * k)};
    Numbers numbers{};
    for (int p = 0; p < row.free; ++p)
      for (int c = 0; c < 6; ++c) numbers.n[p] += row.form[p][c] * forms[c];
    for (const Numbers& other : found)
      if (std::equal(other.n, other.n + 3, numbers.n)) return true;
    found.push_back(numbers);
    return true;
  });
  return found;
}

bool edge_allowed(double coefficient) {  // of a row of the reciprocal lattice, 1/Å²
  return coefficient < 1.34 / (kShortest * kShortest) && coefficient > 1 / (kLongest * kLongest);
}

void starts_of_one(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const auto numbers = low_lines(row, 60, 0);
  for (int i = 0; i < std::min(sieve.n, 12); ++i)
    for (const Numbers& at : numbers) {
      const double a = sieve.q[i] / at.n[0];
      if (!edge_allowed(a)) continue;
      const double g[6] = {a, a, a, 0, 0, 0};
      sieve.test(row, g, best);
    }
}

CRYSTALNET_CLONES
void starts_of_two(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const LatticeRow ordinary = row;
  std::vector<Numbers> numbers;
  {  // (M, l²) with M up to 13 and l up to 10 (18 in the threefold layers of an R lattice)
    const double orders = row.centring == Centring::kR ? 18 : 10;
    const auto all = low_lines(row, 13 + orders * orders, 0);
    for (const Numbers& at : all)
      if (at.n[0] <= 13) numbers.push_back(at);
  }
  const int lines = std::min(sieve.n, 12);
  for (int i = 0; i < lines; ++i)
    for (int j = i + 1; j < lines; ++j)
      for (const Numbers& x : numbers)
        for (const Numbers& y : numbers) {
          const double det = x.n[0] * y.n[1] - x.n[1] * y.n[0];
          if (det == 0) continue;
          const double a = (sieve.q[i] * y.n[1] - sieve.q[j] * x.n[1]) / det;
          const double c = (sieve.q[j] * x.n[0] - sieve.q[i] * y.n[0]) / det;
          if (!edge_allowed(a) || !edge_allowed(c)) continue;
          const double g[6] = {a, a, c, 0, 0, row.form[0][5] * a};
          sieve.test(ordinary, g, best);
        }
}

CRYSTALNET_CLONES
void starts_of_three(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const auto numbers = low_lines(row, row.centring == Centring::kP ? 9 : row.centring == Centring::kF ? 12 : 10, 6);
  const bool all_alike = row.centring != Centring::kC;
  const int lines = std::min(sieve.n, 10);
  for (const Numbers& x : numbers)
    for (const Numbers& y : numbers)
      for (const Numbers& z : numbers) {
        const double* u = x.n;
        const double* v = y.n;
        const double* w = z.n;
        const double det = u[0] * (v[1] * w[2] - v[2] * w[1]) - u[1] * (v[0] * w[2] - v[2] * w[0]) +
                           u[2] * (v[0] * w[1] - v[1] * w[0]);
        if (det == 0) continue;
        double inverse[3][3];
        for (int p = 0; p < 3; ++p) {
          const int r = (p + 1) % 3, s = (p + 2) % 3;
          inverse[p][0] = (v[r] * w[s] - v[s] * w[r]) / det;
          inverse[p][1] = (w[r] * u[s] - w[s] * u[r]) / det;
          inverse[p][2] = (u[r] * v[s] - u[s] * v[r]) / det;
        }
        for (int i = 0; i < lines; ++i)
          for (int j = i + 1; j < lines; ++j)
            for (int k = j + 1; k < lines; ++k) {
              const double q[3] = {sieve.q[i], sieve.q[j], sieve.q[k]};
              const double a = inverse[0][0] * q[0] + inverse[0][1] * q[1] + inverse[0][2] * q[2];
              const double b = inverse[1][0] * q[0] + inverse[1][1] * q[1] + inverse[1][2] * q[2];
              const double c = inverse[2][0] * q[0] + inverse[2][1] * q[1] + inverse[2][2] * q[2];
              if (!(a <= b) || (all_alike && !(b <= c))) continue;
              if (!edge_allowed(a) || !edge_allowed(b) || !edge_allowed(c)) continue;
              const double g[6] = {a, b, c, 0, 0, 0};
              sieve.test(row, g, best);
            }
      }
}

// --- zones: planes of the reciprocal lattice

struct Zone {
  double a, b, f;  // Q = a h² + b k² + f hk, reduced: 0 ≤ f ≤ a ≤ b
  float gain;
  std::uint32_t mask;
};

void reduce(Zone& zone) {
  for (int round = 0; round < 50; ++round) {
    if (zone.a > zone.b) std::swap(zone.a, zone.b);
    const double times = std::round(zone.f / (2 * zone.a));
    if (times == 0) break;
    zone.b += times * times * zone.a - times * zone.f;
    zone.f -= 2 * times * zone.a;
  }
  zone.f = std::abs(zone.f);
}

// Rates the zone by the lines that it explains beyond chance.
void rate_zone(const Sieve& sieve, Zone& zone) {
  zone.gain = -1;
  const double det = 4 * zone.a * zone.b - zone.f * zone.f;
  if (det <= 0.05 * zone.a * zone.b) return;
  if (zone.a < 1 / (kLongest * kLongest)) return;
  std::uint32_t mask = 0;
  int count = 0;
  const int h_max = static_cast<int>(std::sqrt(4 * zone.b * sieve.q_max / det));
  for (int h = 0; h <= h_max; ++h) {
    const double disc = zone.f * zone.f * h * h - 4 * zone.b * (zone.a * h * h - sieve.q_max);
    if (disc < 0) continue;
    const double half = std::sqrt(disc) / (2 * zone.b), centre = -zone.f * h / (2 * zone.b);
    int k = h == 0 ? 1 : static_cast<int>(std::ceil(centre - half));
    const int last = static_cast<int>(std::floor(centre + half));
    for (; k <= last; ++k) {
      mask |= sieve.mask_at(zone.a * h * h + (zone.b * k + zone.f * h) * k);
      if (++count > 60) return;
    }
  }
  if (count == 0) return;
  double gain = 0;
  const double density = std::log(static_cast<double>(count));
  const int found = std::popcount(mask);
  for (std::uint32_t rest = mask; rest; rest &= rest - 1)
    gain += std::max(0.0, sieve.in_plane[std::countr_zero(rest)] - density);
  // Of the calculated lines some are extinct or weak; the more are missing, the less is a hit worth.
  gain -= 0.5 * std::max(0, count - found);
  zone.gain = static_cast<float>(gain);
  zone.mask = mask;
}

std::vector<Zone> zones_of(const Sieve& sieve, std::size_t keep) {
  std::vector<Zone> zones;
  const int base = std::min(sieve.n, 12);
  const auto consider = [&](double a, double b, double f) {
    if (f * f >= 3.9 * a * b) return;
    Zone zone{a, b, f, 0, 0};
    reduce(zone);
    rate_zone(sieve, zone);
    if (zone.gain > 0) zones.push_back(zone);
  };
  for (int i = 0; i < base; ++i)
    for (int j = i + 1; j < base; ++j) {
      const double a = sieve.q[i], b = sieve.q[j];
      for (int k = 0; k < sieve.n; ++k) {
        if (k == i || k == j) continue;
        consider(a, b, sieve.q[k] - a - b);
        consider(a, b, (sieve.q[k] - a - 4 * b) / 2);
        consider(a, b, (sieve.q[k] - 4 * a - b) / 2);
      }
    }
  std::sort(zones.begin(), zones.end(), [](const Zone& x, const Zone& y) { return x.gain > y.gain; });
  std::vector<Zone> kept;
  for (const Zone& zone : zones) {
    bool known = false;
    for (const Zone& other : kept)
      known = known || (std::abs(other.a / zone.a - 1) < 0.006 && std::abs(other.b / zone.b - 1) < 0.006 &&
                        std::abs(other.f - zone.f) < 0.008 * zone.a);
    if (!known) kept.push_back(zone);
    if (kept.size() == keep) break;
  }
  return kept;
}

// The zones and those with a point more in the middle of an edge or of the cell: lines odd in one direction may be
// extinct (glides) or weak.
std::vector<Zone> with_halves(const std::vector<Zone>& zones, std::size_t halved) {
  std::vector<Zone> all;
  const auto add = [&](const Zone& from, double a, double b, double f) {
    Zone zone{a, b, f, from.gain, from.mask};
    reduce(zone);
    for (const Zone& other : all)
      if (std::abs(other.a / zone.a - 1) < 0.003 && std::abs(other.b / zone.b - 1) < 0.003 &&
          std::abs(other.f - zone.f) < 0.004 * zone.a)
        return;
    all.push_back(zone);
  };
  for (const Zone& zone : zones) add(zone, zone.a, zone.b, zone.f);
  for (std::size_t z = 0; z < std::min(halved, zones.size()); ++z) {
    const auto [a, b, f, gain, mask] = zones[z];
    add(zones[z], a / 4, b, f / 2);
    add(zones[z], a, b / 4, f / 2);
    add(zones[z], (a + b + f) / 4, b, b + f / 2);
  }
  return all;
}

// A zone and an axis across it: b* from any line; P, or C in each of its three settings.
CRYSTALNET_CLONES
void starts_across(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best) {
  for (const Zone& zone : zones) {
    const double settings[4][3] = {{zone.a, zone.b, zone.f},
                                   {zone.a / 4, zone.b, zone.f / 2},
                                   {zone.b / 4, zone.a, zone.f / 2},
                                   {(zone.a + zone.b + zone.f) / 4, zone.b, zone.b + zone.f / 2}};
    for (int setting = row.centring == Centring::kP ? 0 : 1; setting < (row.centring == Centring::kP ? 1 : 4);
         ++setting) {
      double g[6] = {settings[setting][0], 0, settings[setting][1], 0, settings[setting][2], 0};
      const int h_max = 1 + static_cast<int>(std::sqrt(4 * g[2] * sieve.q_max / (4 * g[0] * g[2] - g[4] * g[4])));
      for (int i = 0; i < sieve.n; ++i) {
        if (zone.mask >> i & 1 && i > 5) continue;
        for (int k = 1; k <= 2; ++k)
          for (int h = 0; h <= std::min(h_max, 4); ++h) {
            if (row.centring == Centring::kC && ((h + k) & 1)) continue;
            for (int l = h == 0 ? 0 : -4; l <= 4; ++l) {
              const double in_zone = (g[0] * h + g[4] * l) * h + g[2] * l * l;
              g[1] = (sieve.q[i] - in_zone) / (k * k);
              if (g[1] <= 0 || !edge_allowed(g[1])) continue;
              sieve.test(row, g, best);
            }
          }
      }
    }
  }
}

// Zones that hold b*: rectangular ones, and those of a C lattice, with h + k even only. `a` and `b` are Q of the edges
// of the rectangle, across and along b*.
struct Rectangle {
  double a, b;
  bool centred;
  Zone zone;
};

std::vector<Rectangle> rectangles_of(const Sieve& sieve, std::size_t keep) {
  std::vector<Rectangle> all;
  const int base = std::min(sieve.n, 12);
  const auto consider = [&](double a, double b, bool centred) {
    if (!edge_allowed(a) || !edge_allowed(b)) return;
    Rectangle found{a, b, centred, {a, b, 0, 0, 0}};
    if (centred) found.zone = {a + b, a + b, 2 * (a - b), 0, 0};
    reduce(found.zone);
    rate_zone(sieve, found.zone);
    if (found.zone.gain > 0) all.push_back(found);
  };
  for (int i = 0; i < base; ++i)
    for (int j = 0; j < base; ++j) {
      if (i == j) continue;
      const double x = sieve.q[i], y = sieve.q[j];
      consider(x, y, false);          // 10 and 01
      consider(x / 4, y / 4, true);   // 20 and 02
      consider(x, y / 4, false);      // 10 and 02: a screw axis
      consider(y / 4, x, false);      // 20 and 01
      consider(x, y - x, false);      // 10 and 11
      consider(y - x, x, false);      // 01 and 11
      for (const bool centred : {false, true}) {
        consider(x / 4, y - x / 4, centred);  // 20 and 11
        consider(y - x / 4, x / 4, centred);  // 02 and 11
      }
    }
  std::sort(all.begin(), all.end(), [](const Rectangle& x, const Rectangle& y) { return x.zone.gain > y.zone.gain; });
  std::vector<Rectangle> kept;
  for (const Rectangle& one : all) {
    const bool known = std::any_of(kept.begin(), kept.end(), [&](const Rectangle& other) {
      return other.centred == one.centred && std::abs(other.a / one.a - 1) < 0.006 &&
             std::abs(other.b / one.b - 1) < 0.006;
    });
    if (!known) kept.push_back(one);
    if (kept.size() == keep) break;
  }
  return kept;
}

// A rectangle and a third vector across b* from two lines.
CRYSTALNET_CLONES
void starts_upon(const LatticeRow& row, const Sieve& sieve, const std::vector<Rectangle>& rectangles, Best& best) {
  const bool primitive = row.centring == Centring::kP;
  for (const Rectangle& rectangle : rectangles) {
    if (primitive && rectangle.centred) continue;
    // A plain rectangle in a C lattice is the zone 0kl, of even k; the third vector is of odd k.
    const bool beside = !primitive && !rectangle.centred;
    const double a = rectangle.a, b = beside ? rectangle.b / 4 : rectangle.b;
    int firsts = 0;
    for (int i = 0; i < sieve.n && firsts < 6; ++i) {
      if (rectangle.zone.mask >> i & 1) continue;
      ++firsts;
      // The line is 0kl with k = 0, 1 or 2 and l = 1, or 002 where a glide plane or screw axis extinguishes 001.
      const double q = sieve.q[i];
      const double firsts_of[3][3] = {{q, q - b, q / 4}, {q, q - 4 * b, q / 4}, {q - b, q - b, q - b}};
      for (const double c : firsts_of[beside ? 2 : rectangle.centred ? 1 : 0]) {
        if (!edge_allowed(c)) continue;
        for (int j = 0; j < sieve.n; ++j)
          for (int kj = primitive ? 0 : 1; kj <= 1; ++kj) {
            const double e = sieve.q[j] - kj * b - a - c;
            if (std::abs(e) > 1.02 * a || e * e > 3.9 * a * c) continue;
            const double g[6] = {beside ? c : a, b, beside ? a : c, 0, e, 0};
            sieve.test(row, g, best);
          }
        if (beside) break;
      }
    }
  }
}

// A zone and a third vector from three lines.
CRYSTALNET_CLONES
void starts_beside(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best) {
  for (const Zone& zone : zones) {
    int firsts = 0;
    for (int i = 0; i < sieve.n && firsts < 3; ++i) {
      if (zone.mask >> i & 1) continue;
      ++firsts;
      for (int j = 0; j < sieve.n; ++j) {
        const double along_a = sieve.q[j] - sieve.q[i] - zone.a;
        if (std::abs(along_a) > 1.02 * zone.a) continue;
        for (int k = 0; k < sieve.n; ++k) {
          const double along_b = sieve.q[k] - sieve.q[i] - zone.b;
          if (std::abs(along_b) > 1.02 * zone.b) continue;
          for (const double sign : {1.0, -1.0}) {
            const double g[6] = {zone.a, zone.b, sieve.q[i], sign * along_b, along_a, zone.f};
            if (positive(g)) sieve.test(row, g, best);
          }
        }
      }
    }
  }
}

// Two zones with a common row, and the angle between them from any line.
CRYSTALNET_CLONES
void starts_between(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best) {
  struct Plane {
    double row, other, cross;  // Q of the common vector and of the second, and the cross term
    int zone;
  };
  std::vector<Plane> planes;
  for (std::size_t z = 0; z < std::min(zones.size(), kPairedZones); ++z) {
    const Zone& zone = zones[z];
    const int id = static_cast<int>(z);
    planes.push_back({zone.a, zone.b, zone.f, id});
    planes.push_back({zone.b, zone.a, zone.f, id});
    planes.push_back({zone.a + zone.b + zone.f, zone.b, 2 * zone.b + zone.f, id});
    planes.push_back({zone.a + zone.b - zone.f, zone.b, 2 * zone.b - zone.f, id});
  }
  std::sort(planes.begin(), planes.end(), [](const Plane& x, const Plane& y) { return x.row < y.row; });
  for (std::size_t x = 0; x < planes.size(); ++x)
    for (std::size_t y = x + 1; y < planes.size() && planes[y].row < 1.002 * planes[x].row; ++y) {
      if (planes[x].zone == planes[y].zone) continue;
      const Plane &one = planes[x], &two = planes[y];
      const double a = one.row, b = one.other, c = two.other, f = one.cross;
      for (const double e : {two.cross, -two.cross})
        for (int h = -1; h <= 1; ++h) {
          const double known = a * h * h + b + c + f * h + e * h;
          for (int i = 0; i < sieve.n; ++i) {
            const double g[6] = {a, b, c, sieve.q[i] - known, e, f};
            if (positive(g)) sieve.test(row, g, best);
          }
        }
    }
}

// --- the search

// One lattice at one zero shift: the best cells, refined and rated.
std::vector<IndexedCell> search_lattice(const Prepared& lines, const Sieve& sieve, int number, double zero,
                                        double slack, const std::vector<Zone>& zones) {
  const LatticeRow& row = kLattices[number];
  const std::size_t keep = row.free <= 2 ? 200 : row.free == 3 ? 400 : row.free == 4 ? 800 : 1200;
  Best best(keep);
  switch (row.road) {
    case Road::kOne:
      starts_of_one(row, sieve, best);
      break;
    case Road::kTwo:
      starts_of_two(row, sieve, best);
      break;
    case Road::kThree:
      starts_of_three(row, sieve, best);
      break;
    case Road::kZoneAcross:
      starts_across(row, sieve, with_halves(zones, kHalvedZones), best);
      starts_upon(row, sieve, rectangles_of(sieve, kRectangles), best);
      break;
    case Road::kZones:
      starts_beside(row, sieve, zones, best);
      starts_between(row, sieve, zones, best);
      break;
  }
  std::vector<IndexedCell> cells;
  for (const Start& start : best.finish()) {
    IndexedCell cell{};
    cell.lattice = number;
    for (int c = 0; c < 6; ++c) cell.metric[c] = start.metric[c];
    cell.zero = zero;
    if (!refine(lines, sieve.n, slack, 5, cell)) continue;
    rate(lines, cell);
    cells.push_back(cell);
  }
  const std::size_t finished = std::min<std::size_t>(cells.size(), 60);
  std::partial_sort(cells.begin(), cells.begin() + finished, cells.end(),
                    [](const IndexedCell& x, const IndexedCell& y) { return x.score > y.score; });
  cells.resize(finished);
  for (IndexedCell& cell : cells)
    if (refine(lines, lines.n, 0, 4, cell)) rate(lines, cell);
  return cells;
}

// Whether a cell meets such a share of the lines with such an M and not too many calculated lines for each met.
bool convincing(const Prepared& lines, const IndexedCell& cell, double share, double merit, double excess) {
  return cell.found >= share * lines.n && cell.merit >= merit && cell.possible <= excess * cell.found;
}

}  // namespace

int index_lattice_count() { return kLatticeCount; }

std::int64_t index_search(const PowderLines& given, const std::uint8_t* chosen, int n_threads, std::int64_t capacity,
                          IndexedCell* out) {
  const Prepared lines(given);
  if (lines.n < 2 || capacity <= 0) return 0;
  std::vector<IndexedCell> found;
  const int steps = std::max(0, static_cast<int>(std::floor(given.max_zero / kZeroStep + 0.25)));
  for (int step = 0; step <= steps; ++step) {
    bool conclusive = false;
    for (const double sign : {1.0, -1.0}) {
      if (step == 0 && sign < 0) continue;
      const double zero = sign * step * kZeroStep, slack = std::min(kZeroStep / 2, given.max_zero);
      const Sieve sieve(lines, zero, slack);
      const auto run = [&](Road first, Road last, const std::vector<Zone>& zones) {
        std::vector<std::vector<IndexedCell>> each(kLatticeCount);
        parallel_for(kLatticeCount, n_threads, [&](std::int64_t number) {
          const Road road = kLattices[number].road;
          if (chosen[number] && road >= first && road <= last)
            each[number] = search_lattice(lines, sieve, static_cast<int>(number), zero, slack, zones);
        });
        for (const auto& cells : each) found.insert(found.end(), cells.begin(), cells.end());
      };
      run(Road::kOne, Road::kThree, {});
      // Lower symmetry is searched unless a small cell meets every line: a looser exit stops at dense wrong cells.
      if (std::any_of(found.begin(), found.end(),
                      [&](const IndexedCell& cell) { return convincing(lines, cell, 1.0, 25, 2.2); }))
        continue;
      if (std::any_of(chosen, chosen + kLatticeCount,
                      [&](const std::uint8_t& c) { return c && kLattices[&c - chosen].road > Road::kThree; }))
        run(Road::kZoneAcross, Road::kZones, zones_of(sieve, kZones));
    }
    for (const IndexedCell& cell : found) conclusive = conclusive || convincing(lines, cell, 0.85, 20, 4);
    if (conclusive) break;
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const IndexedCell& x, const IndexedCell& y) { return x.score > y.score; });
  std::int64_t count = 0;
  for (const IndexedCell& cell : found) {
    if (count == capacity) break;
    bool known = false;
    for (std::int64_t i = 0; i < count && !known; ++i) {
      if (out[i].lattice != cell.lattice) continue;
      known = true;
      for (int c = 0; c < 6; ++c)
        known = known && std::abs(out[i].metric[c] - cell.metric[c]) <
                             3e-3 * std::max({cell.metric[0], cell.metric[1], cell.metric[2]}) * (c < 3 ? 0.3 : 1);
    }
    if (!known && std::isfinite(cell.score)) out[count++] = cell;
  }
  return count;
}

}  // namespace crystalnet
