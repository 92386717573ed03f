// Refinement of cells on the positions of the lines, and how much each cell explains, by description length.
//
// The score is what is saved, in nats, where the lines are described by a cell instead of one by one.
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "index_lattices.hpp"
#include "index_prepared.hpp"
#include "index_rate.hpp"
#include "parallel.hpp"

namespace crystalnet {

namespace {

constexpr double kParameterCost = 7.6;  // nats: log(range searched / precision reached) = log(10 Å / 0.005 Å)
constexpr int kMaxCalculated = 2000;    // a cell with more lines explains nothing

struct Line {
  double q;
  short h, k, l;
};

// Lines up to q_max, ascending; empty where there are too many.
void calculated(const LatticeRow& row, const double* metric, double q_max, std::vector<Line>& lines) {
  lines.clear();
  const bool whole = visit_lines(row, metric, q_max, [&](int h, int k, int l, double q) {
    lines.push_back({q, static_cast<short>(h), static_cast<short>(k), static_cast<short>(l)});
    return lines.size() < kMaxCalculated;
  });
  if (!whole) lines.clear();
  std::sort(lines.begin(), lines.end(), [](const Line& x, const Line& y) { return x.q < y.q; });
}

const Line& nearest(const std::vector<Line>& lines, double q) {
  auto upper = std::lower_bound(lines.begin(), lines.end(), q, [](const Line& x, double v) { return x.q < v; });
  if (upper == lines.end()) return lines.back();
  if (upper == lines.begin()) return *upper;
  return upper->q - q < q - (upper - 1)->q ? *upper : *(upper - 1);
}

// Solves the n equations of the symmetric positive matrix in place; false where it is singular.
template <int kSize>
bool solve(std::array<std::array<double, kSize>, kSize>& matrix, std::array<double, kSize>& right, int n) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = matrix[i][j];
      for (int k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
      if (i == j) {
        if (sum <= 0) return false;
        matrix[i][i] = std::sqrt(sum);
      } else {
        matrix[i][j] = sum / matrix[j][j];
      }
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) right[i] -= matrix[i][k] * right[k];
    right[i] /= matrix[i][i];
  }
  for (int i = n; i-- > 0;) {
    for (int k = i + 1; k < n; ++k) right[i] -= matrix[k][i] * right[k];
    right[i] /= matrix[i][i];
  }
  return true;
}

// What a zone or row of reflections may be subject to: the reflections outside it, or of even number, do not count.
struct Extinction {
  int zone[2][3];  // h·zone[0] = 0 and h·zone[1] = 0 (of a row) in it
  int number[3];   // extinct where h·number is no multiple
  int multiple;
};

// Rows and planes by the symmetry directions of the systems; each is asked where its zone can be a symmetry element.
constexpr Extinction kExtinctions[] = {
    {{{1, 0, 0}, {0, 0, 0}}, {0, 1, 0}, 2}, {{{1, 0, 0}, {0, 0, 0}}, {0, 0, 1}, 2},
    {{{1, 0, 0}, {0, 0, 0}}, {0, 1, 1}, 2}, {{{0, 1, 0}, {0, 0, 0}}, {1, 0, 0}, 2},
    {{{0, 1, 0}, {0, 0, 0}}, {0, 0, 1}, 2}, {{{0, 1, 0}, {0, 0, 0}}, {1, 0, 1}, 2},
    {{{0, 0, 1}, {0, 0, 0}}, {1, 0, 0}, 2}, {{{0, 0, 1}, {0, 0, 0}}, {0, 1, 0}, 2},
    {{{0, 0, 1}, {0, 0, 0}}, {1, 1, 0}, 2}, {{{1, -1, 0}, {0, 0, 0}}, {0, 0, 1}, 2},
    {{{1, 0, 0}, {0, 1, 0}}, {0, 0, 1}, 2}, {{{1, 0, 0}, {0, 1, 0}}, {0, 0, 1}, 3},
    {{{1, 0, 0}, {0, 1, 0}}, {0, 0, 1}, 4}, {{{1, 0, 0}, {0, 1, 0}}, {0, 0, 1}, 6},
    {{{0, 1, 0}, {0, 0, 1}}, {1, 0, 0}, 2}, {{{0, 1, 0}, {0, 0, 1}}, {1, 0, 0}, 4},
    {{{1, 0, 0}, {0, 0, 1}}, {0, 1, 0}, 2},
};
constexpr int kExtinctionCount = sizeof(kExtinctions) / sizeof(kExtinctions[0]);

// Sublattices of index 2 and 3 of the reciprocal lattice: h·number is a multiple.
constexpr int kSublattices[20][4] = {{1, 0, 0, 2},  {0, 1, 0, 2},  {0, 0, 1, 2},  {1, 1, 0, 2},  {1, 0, 1, 2},
                                     {0, 1, 1, 2},  {1, 1, 1, 2},  {1, 0, 0, 3},  {0, 1, 0, 3},  {0, 0, 1, 3},
                                     {1, 1, 0, 3},  {1, -1, 0, 3}, {1, 0, 1, 3},  {1, 0, -1, 3}, {0, 1, 1, 3},
                                     {0, 1, -1, 3}, {1, 1, 1, 3},  {1, 1, -1, 3}, {1, -1, 1, 3}, {-1, 1, 1, 3}};
constexpr double kClassCost = 3.0;  // nats: which of the sublattices

int dot(const int* x, const Line& line) { return x[0] * line.h + x[1] * line.k + x[2] * line.l; }

bool extinct(const Extinction& rule, const Line& line) {
  return dot(rule.zone[0], line) == 0 && dot(rule.zone[1], line) == 0 && dot(rule.number, line) % rule.multiple != 0;
}

// Whether a calculated line has its group for itself.
bool alone(const std::vector<int>& group, int count, int j) {
  return (j == 0 || group[j - 1] != group[j]) && (j + 1 == count || group[j + 1] != group[j]);
}

double log_choose(double n, double k) { return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1); }

}  // namespace

bool refine(const Prepared& lines, int n, double slack, int rounds, IndexedCell& cell) {
  const LatticeRow& row = kLattices[cell.lattice];
  const int free = row.free, size = free + 2;
  thread_local std::vector<Line> list;
  for (int round = 0; round < rounds; ++round) {
    const double left = round + 2 < rounds ? slack / (1 << round) : 0.0;
    const double times = round < 2 ? 4.0 : round < 3 ? 3.0 : 2.5;
    if (!positive(cell.metric)) return false;
    const double last = lines.q(n - 1, cell.zero, cell.displacement);
    calculated(row, cell.metric, last * 1.02 + 1e-9, list);
    if (list.empty()) return false;
    std::array<std::array<double, 8>, 8> normal{};
    std::array<double, 8> right{};
    double scale[6];
    for (int p = 0; p < free; ++p) {  // in relative units, so that the normal matrix is well scaled
      scale[p] = 0;
      for (int c = 0; c < 3; ++c) scale[p] = std::max(scale[p], row.form[p][c] * cell.metric[c]);
      if (scale[p] > 0) continue;
      const int c = static_cast<int>(std::find(row.form[p], row.form[p] + 6, 1) - row.form[p]);
      scale[p] = c == 3   ? std::sqrt(cell.metric[1] * cell.metric[2])
                 : c == 4 ? std::sqrt(cell.metric[0] * cell.metric[2])
                          : std::sqrt(cell.metric[0] * cell.metric[1]);
    }
    for (int i = 0; i < n; ++i) {
      const double q = lines.q(i, cell.zero, cell.displacement);
      const Line& at = nearest(list, q);
      const double miss = (q - at.q) / lines.slope[i];
      if (std::abs(miss) > times * lines.tolerance[i] + left * lines.lever[i]) continue;
      const double h = at.h, k = at.k, l = at.l;
      const double forms[6] = {h * h, k * k, l * l, k * l, h * l, h * k};
      double design[8];
      for (int p = 0; p < free; ++p) {
        double number = 0;
        for (int c = 0; c < 6; ++c) number += row.form[p][c] * forms[c];
        design[p] = scale[p] * number / lines.slope[i];
      }
      design[free] = 1;
      design[free + 1] = lines.cosine[i];
      const double weight = 1 / (lines.tolerance[i] * lines.tolerance[i]);
      for (int p = 0; p < size; ++p) {
        for (int r = 0; r <= p; ++r) normal[p][r] += weight * design[p] * design[r];
        right[p] += weight * design[p] * miss;
      }
    }
    for (int p = 0; p < size; ++p) normal[p][p] += 1e-6 + 1e-9 * normal[p][p];
    normal[free][free] += 1 / (kZeroEsd * kZeroEsd);
    right[free] -= cell.zero / (kZeroEsd * kZeroEsd);
    normal[free + 1][free + 1] += 1 / (kDisplacementEsd * kDisplacementEsd);
    right[free + 1] -= cell.displacement / (kDisplacementEsd * kDisplacementEsd);
    if (!solve<8>(normal, right, size)) return false;
    for (int p = 0; p < free; ++p) {  // a start whose lines do not determine it may run away: not far in one round
      const double step = scale[p] * std::clamp(right[p], -0.02, 0.02);
      for (int c = 0; c < 6; ++c) cell.metric[c] += row.form[p][c] * step;
    }
    cell.zero += std::clamp(right[free], -0.2, 0.2);
    cell.displacement += std::clamp(right[free + 1], -0.2, 0.2);
  }
  return positive(cell.metric);
}

void rate(const Prepared& lines, IndexedCell& cell) {
  const LatticeRow& row = kLattices[cell.lattice];
  cell.score = -std::numeric_limits<double>::infinity();
  cell.merit = 0;
  cell.found = cell.possible = 0;
  if (!positive(cell.metric)) return;
  const double volume = 1 / std::sqrt(determinant(cell.metric)) / row.points;
  if (volume > kLargestVolume) return;
  const int n = lines.n;
  double observed[kMaxIndexLines];
  for (int i = 0; i < n; ++i) observed[i] = lines.two_theta[i] - cell.zero - cell.displacement * lines.cosine[i];
  const double first = lines.two_theta_min - cell.zero, last = observed[n - 1] + lines.tolerance[n - 1];
  const double q_last = lines.q_at(last);
  thread_local std::vector<Line> list;
  thread_local std::vector<double> position;
  thread_local std::vector<int> group, size, seen;
  calculated(row, cell.metric, q_last, list);
  const double q_first = first > 0 ? lines.q_at(first) : 0;
  list.erase(list.begin(), std::find_if(list.begin(), list.end(), [&](const Line& x) { return x.q > q_first; }));
  if (list.empty()) return;
  // Calculated lines closer than the resolution make one group.
  const int m = static_cast<int>(list.size());
  position.resize(m);
  group.resize(m);
  for (int j = 0; j < m; ++j) {
    position[j] = lines.two_theta_of(list[j].q);
    group[j] = j == 0 ? 0 : group[j - 1] + (position[j] - position[j - 1] > 2 * lines.usual_tolerance);
  }
  const int groups = group[m - 1] + 1;
  seen.assign(groups, -1);
  double miss[kMaxIndexLines];
  bool hit[kMaxIndexLines] = {};
  for (int i = n; i-- > 0;) {
    const auto upper = std::lower_bound(position.begin(), position.end(), observed[i]);
    int at = static_cast<int>(upper - position.begin());
    if (at == m || (at > 0 && observed[i] - position[at - 1] < position[at] - observed[i])) --at;
    miss[i] = observed[i] - position[at];
    if (std::abs(miss[i]) > 2 * lines.tolerance[i]) continue;
    int& holder = seen[group[at]];
    if (holder < 0 || lines.spurious[i] < lines.spurious[holder]) holder = i;  // the strongest, the least spurious
  }
  int found = 0;
  for (const int i : seen)
    if (i >= 0) hit[i] = true, ++found;
  // The spread of the lines comes from themselves and from a prior worth three lines at half the tolerance. A broad
  // line, perhaps several in one, is known less well.
  double square = 0, breadths = 0, spuriousness = 0, discrepancy = 0;
  for (int i = 0; i < n; ++i) {
    const double breadth = lines.tolerance[i] / lines.usual_tolerance;
    if (hit[i]) {
      square += (miss[i] / breadth) * (miss[i] / breadth);
      breadths += std::log(breadth);
      discrepancy += std::abs(miss[i] * lines.slope[i]);
    }
    spuriousness += std::log(hit[i] ? 1 - lines.spurious[i] : lines.spurious[i]);
  }
  const double half = lines.usual_tolerance / 2, variance = (square + 3 * half * half) / (found + 3);
  const double resolution = std::sqrt(2 * std::numbers::pi * variance);
  // A group of lines may be met anywhere on its width: as many places as lines at most, fewer where they overlap.
  double places = 0;
  for (int j = 0, end; j < m; j = end) {
    for (end = j + 1; end < m && group[end] == group[j];) ++end;
    if (seen[group[j]] >= 0)
      places += std::log(std::min<double>(end - j, 1 + (position[end - 1] - position[j]) / resolution));
  }
  // Extinctions: in a zone or on a row, a class of lines of which none is seen is left out where that is shorter.
  thread_local std::vector<char> present;
  present.assign(m, 1);
  int possible = groups;
  double classes = 0;
  const auto count_possible = [&](auto&& keeps) {
    int count = 0, last_group = -1;
    for (int j = 0; j < m; ++j)
      if (group[j] != last_group && present[j] && keeps(list[j])) last_group = group[j], ++count;
    return count;
  };
  if (row.half != Half::kTriclinic) {
    for (int e = 0; e < kExtinctionCount;) {
      // The conditions on one zone stand together; the best of them is taken.
      int end = e, best = -1, fewest = possible;
      for (; end < kExtinctionCount &&
             std::memcmp(kExtinctions[end].zone, kExtinctions[e].zone, sizeof(Extinction::zone)) == 0;
           ++end) {
        const Extinction& rule = kExtinctions[end];
        bool violated = false, any = false;
        for (int j = 0; j < m && !violated; ++j) {
          if (!present[j] || !extinct(rule, list[j])) continue;
          any = true;
          violated = seen[group[j]] >= 0 && alone(group, m, j);
        }
        if (violated || !any) continue;
        const int left = count_possible([&](const Line& line) { return !extinct(rule, line); });
        if (left < fewest && left >= found) fewest = left, best = end;
      }
      if (best >= 0) {
        const double cost = std::log(1.0 + end - e);
        const double gain = log_choose(possible, found) - log_choose(fewest, found);
        if (gain > cost) {
          for (int j = 0; j < m; ++j) present[j] = present[j] && !extinct(kExtinctions[best], list[j]);
          possible = fewest;
          classes += cost;
        }
      }
      e = end;
    }
  }
  possible = std::max(possible, found);
  double choice = log_choose(possible, found) + classes;
  // The lines of a superlattice, few and weak as a rule, are counted for themselves where that is shorter.
  for (const auto& sub : kSublattices) {
    int main = 0, main_found = 0, extra = 0, extra_found = 0;
    for (int j = 0; j < m;) {
      bool any = false, in_main = false;
      const int g = group[j];
      for (; j < m && group[j] == g; ++j)
        if (present[j]) any = true, in_main = in_main || dot(sub, list[j]) % sub[3] == 0;
      if (!any && seen[g] < 0) continue;
      (in_main ? main : extra) += 1;
      (in_main ? main_found : extra_found) += seen[g] >= 0;
    }
    if (extra_found == 0 || main_found * extra <= extra_found * main) continue;
    const double split = log_choose(main, main_found) + log_choose(extra, extra_found) + std::log(extra + 1.0) +
                         kClassCost + classes;
    choice = std::min(choice, split);
  }
  const double span = last - std::min(lines.two_theta_min + 5, observed[0]);
  cell.score = found * std::log(span / resolution) - square / (2 * variance) - breadths - places + spuriousness -
               choice - std::lgamma(n + 1.0) + std::lgamma(n - found + 1.0) - row.free * kParameterCost -
               std::max(0.0, std::log(volume / 200)) - cell.zero * cell.zero / (2 * kZeroEsd * kZeroEsd) -
               cell.displacement * cell.displacement / (2 * kDisplacementEsd * kDisplacementEsd);
  cell.found = found;
  cell.possible = possible;
  if (found) cell.merit = list.back().q / (2 * (discrepancy / found + 1e-6 * list.back().q) * possible);
}

void index_rate(const PowderLines& given, std::int64_t count, double slack, int rounds, int n_threads,
                IndexedCell* cells) {
  const Prepared lines(given);
  if (lines.n == 0) return;
  parallel_for(count, n_threads, [&](std::int64_t i) {
    if (rounds == 0 || refine(lines, lines.n, slack, rounds, cells[i])) {
      rate(lines, cells[i]);
    } else {
      cells[i].score = -std::numeric_limits<double>::infinity();
    }
  });
}

}  // namespace crystalnet
