// The search: starts of every lattice at every zero shift, sieved, refined and rated.
#include <cmath>

#include "index_lattices.hpp"
#include "index_rate.hpp"
#include "index_starts.hpp"
#include "parallel.hpp"

namespace crystalnet {

namespace {

constexpr double kZeroStep = 0.08;  // degrees between the zeros tried; a sieve's windows reach half of it
// Rounds of least squares of a start, by which its slack is used up, and of the best, which are then refined on all
// lines.
constexpr int kStartRounds = 5, kFinalRounds = 4;
constexpr std::size_t kFinished = 60;  // cells of a lattice at one zero that are refined on all lines
// Starts refined, by the number of free parameters: the more there are, the more wrong starts gain as much.
constexpr std::size_t kRefined[] = {0, 200, 200, 400, 800, 0, 1200};
// Relative, of coefficients of cells that are one.
constexpr double kSameSquare = 0.9e-3, kSameCross = 3e-3;

// What a cell must do: the share of the lines that it meets, its M, and the lines calculated for each met at most.
struct Bar {
  double share, merit, excess;
};
// No other zero is tried; and no lattice of lower symmetry: a looser bar stops at dense wrong cells.
constexpr Bar kConclusive{0.85, 20, 4}, kBeyondDoubt{1, 25, 2.2};

// One lattice at one zero shift: the best cells, refined and rated.
std::vector<IndexedCell> search_lattice(const Prepared& lines, const Sieve& sieve, int number, double zero,
                                        double slack, const std::vector<Zone>& zones) {
  const LatticeRow& row = kLattices[number];
  Best best(kRefined[row.free]);
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
      starts_across(row, sieve, zones, best);
      starts_upon(row, sieve, best);
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
    if (!refine(lines, sieve.n, slack, kStartRounds, cell)) continue;
    rate(lines, cell);
    cells.push_back(cell);
  }
  const std::size_t finished = std::min(cells.size(), kFinished);
  std::partial_sort(cells.begin(), cells.begin() + finished, cells.end(),
                    [](const IndexedCell& x, const IndexedCell& y) { return x.score > y.score; });
  cells.resize(finished);
  std::erase_if(cells, [&](IndexedCell& cell) {
    const bool survives = refine(lines, lines.n, 0, kFinalRounds, cell);
    if (survives) rate(lines, cell);
    return !survives;
  });
  return cells;
}

bool any_meets(const Bar& bar, const Prepared& lines, const std::vector<IndexedCell>& cells) {
  return std::any_of(cells.begin(), cells.end(), [&](const IndexedCell& cell) {
    return cell.found >= bar.share * lines.n && cell.merit >= bar.merit && cell.possible <= bar.excess * cell.found;
  });
}

bool same(const IndexedCell& one, const IndexedCell& other) {
  if (one.lattice != other.lattice) return false;
  const double largest = std::max({one.metric[0], one.metric[1], one.metric[2]});
  for (int c = 0; c < 6; ++c)
    if (std::abs(one.metric[c] - other.metric[c]) >= (c < 3 ? kSameSquare : kSameCross) * largest) return false;
  return true;
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
      if (any_meets(kBeyondDoubt, lines, found)) continue;
      bool low = false;  // whether lattices are chosen that are sought from zones
      for (int number = 0; number < kLatticeCount; ++number)
        low = low || (chosen[number] && kLattices[number].road > Road::kThree);
      if (low) run(Road::kZoneAcross, Road::kZones, zones_of(sieve));
    }
    if (any_meets(kConclusive, lines, found)) break;
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const IndexedCell& x, const IndexedCell& y) { return x.score > y.score; });
  std::int64_t count = 0;
  for (const IndexedCell& cell : found) {
    if (count == capacity || !std::isfinite(cell.score)) break;
    if (std::none_of(out, out + count, [&](const IndexedCell& kept) { return same(cell, kept); })) out[count++] = cell;
  }
  return count;
}

}  // namespace crystalnet
