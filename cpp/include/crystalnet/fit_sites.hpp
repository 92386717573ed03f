// Atoms refined against the line intensities of a powder pattern, within their space group.
//
// Minimised is R² = [Σ_j (√I_o − s √I_c)² + Σ_m max(0, s √I_m − limit_m)²] / Σ_j I_o over groups j of lines that the
// pattern does not resolve and lines m that it does not show; free are the scale s, an overall B and the coordinates u
// of x = x₀ + D u. What holds u near 0 adds Σ hold·u² times the sum at the start. Levenberg–Marquardt with analytic
// derivatives (Marquardt, J. Soc. Indust. Appl. Math. 11, 431, 1963).
#pragma once

#include <cstdint>

namespace crystalnet {

inline constexpr double kMostB = 6.0;  // Å², of the overall B
inline constexpr double kMostStep = 0.25;              // Å by which a round moves an atom at most
inline constexpr double kLeastOfScale = 1e-3;          // the part of the scale that a round leaves at least
inline constexpr double kFirstDamping = 1e-2, kLeastDamping = 1e-7, kMostDamping = 1e6;
inline constexpr double kRidge = 1e-12;  // of the largest diagonal element: parameters that nothing shows stay put
inline constexpr double kConverged = 1e-4;  // relative change of R² that ends the rounds
inline constexpr double kFaint = 1e-9;  // of the strongest I_c: below, √I has no derivative worth having
inline constexpr int kScaleRounds = 4;  // which lines exceed their limits depends on the scale: three settle it

// What a pattern says of the reflections of one lattice, borrowed. One of each Friedel pair, ascending in |G|.
struct LatticeTargets {
  std::int64_t reflections;
  const std::int32_t* hkl;  // (reflections, 3)
  const double* s_squared;  // (sinθ/λ)², 1/Å²
  const double* weight;  // of |F|²: multiplicity and Lorentz-polarisation
  const std::int32_t* target;  // observed group [0, observed), observed + m for line m that is not seen, −1: not used
  std::int64_t observed;
  const double* amplitude;  // (observed) √I_o
  std::int64_t unseen;
  const double* limit;  // (unseen) largest s √I that would not be seen
  const double* lattice;  // (3, 3) rows, Å
  double least_b;  // Å², of the overall B
};

// Crystals in that lattice, borrowed; written are u, B, scale and residual.
struct SitesBatch {
  std::int64_t count;
  const std::int64_t* atom_offsets;  // (count + 1)
  const std::int64_t* free_offsets;  // (count + 1): crystal i owns u[offsets[i]:offsets[i + 1]]
  const std::int64_t* atomic_numbers;  // (atoms)
  const double* frac_coords;  // (atoms, 3) x₀
  const double* directions;  // (atoms, 3, 3): column k moves with the free coordinate columns[k]
  const std::int32_t* columns;  // (atoms, 3), −1: none
  const double* form_factors;  // as in powder_pattern.hpp
  const double* hold;  // (free coordinates), not negative; 0: free
  double* u;  // in and out
  double* b_iso;  // (count) in and out, Å²
  double* residual;  // (count) R
};

// At most `rounds` rounds on the first `used` reflections; groups that lie within them only in part are left out.
void fit_sites(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds, int n_threads);

// The same on the GPU, with equal results from call to call. Only the workspace is a device pointer; u, B and residual
// are there when it returns.
void fit_sites_cuda(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds,
                    void* workspace, void* stream);

// Bytes of device memory that fit_sites_cuda wants as workspace.
std::int64_t fit_sites_workspace(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals);

// What a block of the GPU does, done by so many threads of the host: tests it where no GPU is.
void fit_sites_as_block(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds,
                        int n_threads);

}  // namespace crystalnet
