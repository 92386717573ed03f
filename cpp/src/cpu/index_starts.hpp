// Starts of the search: metrics of a lattice type from a few lines, put to the sieve's test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index_lattices.hpp"
#include "index_sieve.hpp"

namespace crystalnet {

// From single lines (cubic), pairs (hexagonal axes, tetragonal) and triples (orthorhombic) with low indices.
void starts_of_one(const LatticeRow& row, const Sieve& sieve, Best& best);
void starts_of_two(const LatticeRow& row, const Sieve& sieve, Best& best);
void starts_of_three(const LatticeRow& row, const Sieve& sieve, Best& best);

// A plane of the reciprocal lattice: Q = a h² + b k² + f hk, reduced: 0 ≤ f ≤ a ≤ b.
struct Zone {
  double a, b, f;
  float gain;  // nats by which it explains lines beyond chance
  std::uint32_t mask;
};

// The best zones from three lines each.
std::vector<Zone> zones_of(const Sieve& sieve);

// Monoclinic: an axis across a zone, and a vector across a zone that holds b*.
void starts_across(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best);
void starts_upon(const LatticeRow& row, const Sieve& sieve, Best& best);

// Triclinic: a third vector beside a zone, and two zones with a common row.
void starts_beside(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best);
void starts_between(const LatticeRow& row, const Sieve& sieve, const std::vector<Zone>& zones, Best& best);

}  // namespace crystalnet
