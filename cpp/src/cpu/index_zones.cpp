// Starts of monoclinic and triclinic lattices: zones, and what completes them.
#include <algorithm>

#include "clones.hpp"
#include "index_starts.hpp"

namespace crystalnet {

namespace {

// Lines of lowest angle of which two span a zone: with 12, lattices are lost that are absent from most of the first
// dozen lines; with 20 wrong zones crowd out right ones.
constexpr int kBase = 16;
// Best zones that are completed, with a point more in their middle, or with each other, and zones that hold b*. The
// right ones are among the first 20 as a rule, and among the first 150 where lines of low angle are absent.
constexpr std::size_t kZones = 400, kHalvedZones = 150, kPairedZones = 150, kRectangles = 300;
constexpr int kMostInZone = 60;          // lines of a zone; one with more meets any
constexpr double kUnseen = 0.5;  // nats that a line of a zone costs that is not seen: some are extinct or weak
constexpr double kSameZone = 0.006;  // relative, of zones that are one
constexpr double kFlattest = 3.9;  // of 4: f² over ab; beyond, two vectors are nearly parallel
constexpr double kWithinReduced = 1.02;  // of the bound of a reduced vector: the zero shift moves lines

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
      if (++count > kMostInZone) return;
    }
  }
  if (count == 0) return;
  double gain = 0;
  const double density = std::log(static_cast<double>(count));
  const int found = std::popcount(mask);
  for (std::uint32_t rest = mask; rest; rest &= rest - 1)
    gain += std::max(0.0, sieve.in_plane[std::countr_zero(rest)] - density);
  gain -= kUnseen * std::max(0, count - found);
  zone.gain = static_cast<float>(gain);
  zone.mask = mask;
}

// The zones and those with a point more in the middle of an edge or of the cell: lines odd in one direction may be
// extinct (glides) or weak.
std::vector<Zone> with_halves(const std::vector<Zone>& zones) {
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
  for (std::size_t z = 0; z < std::min(kHalvedZones, zones.size()); ++z) {
    const auto [a, b, f, gain, mask] = zones[z];
    add(zones[z], a / 4, b, f / 2);
    add(zones[z], a, b / 4, f / 2);
    add(zones[z], (a + b + f) / 4, b, b + f / 2);
  }
  return all;
}

// Zones that hold b*: rectangular ones, and those of a C lattice, with h + k even only. `a` and `b` are Q of the edges
// of the rectangle, across and along b*.
struct Rectangle {
  double a, b;
  bool centred;
  Zone zone;
};

std::vector<Rectangle> rectangles_of(const Sieve& sieve) {
  std::vector<Rectangle> all;
  const int base = std::min(sieve.n, kBase);
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
      consider(x, y, false);  // 10 and 01
      consider(x / 4, y / 4, true);  // 20 and 02
      consider(x, y / 4, false);  // 10 and 02: a screw axis
      consider(y / 4, x, false);  // 20 and 01
      consider(x, y - x, false);  // 10 and 11
      consider(y - x, x, false);  // 01 and 11
      for (const bool centred : {false, true}) {
        consider(x / 4, y - x / 4, centred);  // 20 and 11
        consider(y - x / 4, x / 4, centred);  // 02 and 11
      }
    }
  std::sort(all.begin(), all.end(), [](const Rectangle& x, const Rectangle& y) { return x.zone.gain > y.zone.gain; });
  std::vector<Rectangle> kept;
  for (const Rectangle& one : all) {
    const bool known = std::any_of(kept.begin(), kept.end(), [&](const Rectangle& other) {
      return other.centred == one.centred && std::abs(other.a / one.a - 1) < kSameZone &&
             std::abs(other.b / one.b - 1) < kSameZone;
    });
    if (!known) kept.push_back(one);
    if (kept.size() == kRectangles) break;
  }
  return kept;
}

}  // namespace

std::vector<Zone> zones_of(const Sieve& sieve) {
  std::vector<Zone> zones;
  const int base = std::min(sieve.n, kBase);
  const auto consider = [&](double a, double b, double f) {
    if (f * f >= kFlattest * a * b) return;
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
      known = known || (std::abs(other.a / zone.a - 1) < kSameZone && std::abs(other.b / zone.b - 1) < kSameZone &&
                        std::abs(other.f - zone.f) < 0.008 * zone.a);
    if (!known) kept.push_back(zone);
    if (kept.size() == kZones) break;
  }
  return kept;
}

// A zone and an axis across it: b* from any line; P, or C in each of its three settings.
CRYSTALNET_CLONES
void starts_across(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best) {
  for (const Zone& zone : with_halves(zones)) {
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

// A rectangle and a third vector across b* from two lines.
CRYSTALNET_CLONES
void starts_upon(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const bool primitive = row.centring == Centring::kP;
  for (const Rectangle& rectangle : rectangles_of(sieve)) {
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
            if (std::abs(e) > kWithinReduced * a || e * e > kFlattest * a * c) continue;
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
        if (std::abs(along_a) > kWithinReduced * zone.a) continue;
        for (int k = 0; k < sieve.n; ++k) {
          const double along_b = sieve.q[k] - sieve.q[i] - zone.b;
          if (std::abs(along_b) > kWithinReduced * zone.b) continue;
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

}  // namespace crystalnet
