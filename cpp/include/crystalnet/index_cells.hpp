// Indexing: the unit cells that explain the line positions of a powder pattern, in all seven crystal systems.
//
// A metric is the quadratic form Q(hkl) = 1/d² = A h² + B k² + C l² + D kl + E hl + F hk in 1/Å², as (A, B, C, D, E,
// F).
#pragma once

#include <cstdint>

namespace crystalnet {

inline constexpr int kMaxIndexLines = 128;

// The lines that take part, ascending in 2θ. Borrowed.
struct PowderLines {
  std::int64_t count;  // at most kMaxIndexLines
  const double* two_theta;  // degrees, of Kα1
  const double* tolerance;  // standard deviation of each position, degrees
  const double* spurious;  // chance that the line belongs to no lattice
  double wavelength;  // Å
  double two_theta_min;  // where the pattern begins, degrees
  double max_zero;  // largest zero shift searched, degrees
};

// A lattice type is a row of the table in index_lattices.hpp; its number is the lattice in what follows.
struct IndexedCell {
  std::int64_t lattice;
  double metric[6];  // 1/Å², of the conventional cell
  double zero;  // degrees; the measured 2θ less the true one
  double displacement;  // degrees, times cosθ less its mean over the lines
  double score;  // nats saved where the cell describes the lines; −∞ where it cannot
  double merit;  // de Wolff's M over the lines met
  std::int64_t found;  // lines met
  std::int64_t possible;  // distinct lines calculated in their range
};

// Number of rows of the table.
int index_lattice_count();

// Promising cells of the lattice types chosen (a byte each), refined and rated, best first: at most `capacity` of them
// are written, their number returned. The threads share the lattice types.
std::int64_t index_search(const PowderLines& lines, const std::uint8_t* chosen, int n_threads, std::int64_t capacity,
                          IndexedCell* out);

// Least squares of given cells on the lines (unless rounds is 0), and their ratings, in place. Zero, metric and lattice
// are read. `slack`: by which the zeros may be wrong, degrees.
void index_rate(const PowderLines& lines, std::int64_t count, double slack, int rounds, int n_threads,
                IndexedCell* cells);

}  // namespace crystalnet
