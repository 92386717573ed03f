// Free coordinates of atoms relaxed towards usual distances.
//
// Minimised is the strain, a mean over atoms of [Σ_j max(0, 1 − r_ij / shortest_ij)² + Σ_k min(far_k, 1)²], where
// far_k = max(0, s_k / longest_k − 1) for the k-th nearest anion of a cation, at the distance s_k in the sum of the two
// radii. Steepest descent: each step moves the atom that moves most by a given length, or less where little is left.
#pragma once

#include <cstdint>

namespace crystalnet {

inline constexpr int kNeighbours = 4;  // nearest anions of a cation that have a usual distance
inline constexpr double kNoBond = 1.0;  // of far_k: a neighbour farther off is none, and pulled no more than at that
inline constexpr double kStiff = 10.0;  // largest factor of the gradient in one step

// One arrangement of atoms, borrowed. Of each orbit one atom counts, with the orbit's share of all atoms.
struct UsualDistances {
  const double* lattice;  // (3, 3) rows, Å
  std::int64_t atoms;
  const double* frac_coords;  // (atoms, 3) x₀
  const double* directions;  // (atoms, 3, 3): column k moves with the free coordinate columns[k]
  const std::int32_t* columns;  // (atoms, 3), −1: none
  std::int64_t free;
  std::int64_t images;
  const double* shifts;  // (images, 3): translations beside the nearest image
  std::int64_t orbits;
  const std::int64_t* one;  // (orbits)
  const double* share;  // (orbits)
  const double* shortest;  // (orbits, atoms) Å, 0: none
  const double* sums;  // (orbits, atoms) Å, the sums of the radii
  const double* longest;  // (orbits, kNeighbours) in the sum of the radii, 0: none
  const std::uint8_t* anion;  // (atoms)
};

// `count` starts u (count, free), changed in place, and their strain (count) at the end.
void relax_sites(const UsualDistances& usual, std::int64_t count, std::int64_t steps, const double* lengths,
                 int n_threads, double* u, double* strain);

}  // namespace crystalnet
