// Kinematic powder patterns: every reflection of a crystal, or of a batch of crystals into 2θ bins.
//
// I(hkl) = |Σ_j f_j exp(2πi h·x_j)|² · (1 + cos²2θ) / (sin²θ cosθ), f(s) = Z − 41.78214 s² Σ_k a_k exp(−b_k s²),
// s = sinθ/λ. Lines whose 2θ round to the same multiple of 1e-5° are one line. Reference: De Graef & McHenry,
// "Structure of Materials", chapters 11 and 12; the conventions are those of pymatgen's XRDCalculator.
#pragma once

#include <cstdint>

namespace crystalnet {

inline constexpr int kFormFactorTerms = 4;              // (a, b) pairs an element
inline constexpr double kFormFactorScale = 41.78214;    // e·Å, between electron and X-ray scattering (Mott–Bethe)
inline constexpr double kMergeDegrees = 1e-5;           // lines closer than this are one line
inline constexpr double kRelativeCut = 1e-5;            // weaker lines are rounding noise of absent reflections
inline constexpr double kBinTolerance = 1e-9;           // bins; 2θ = 90° is an edge, and a = 7.11 Å has lines there

// Crystals one after the other, borrowed. On the device of the function that takes it.
struct CrystalBatch {
  std::int64_t count;
  const double* lattices;              // (count, 3, 3), rows are cell vectors in Å
  const std::int64_t* atom_offsets;    // (count + 1): the atoms of crystal i are [offsets[i], offsets[i + 1])
  const double* frac_coords;           // (atoms, 3)
  const std::int64_t* atomic_numbers;  // (atoms)
  const double* form_factors;          // (rows, kFormFactorTerms, 2), row = Z
};

// Lines of one crystal, ascending in 2θ; arrays of at least reflection_capacity() entries, written by reflections().
struct ReflectionArrays {
  double* two_theta;           // degrees
  double* d_spacing;           // Å
  std::int64_t* hkl;           // (capacity, 3): the strongest member of the line, largest indices first
  std::int64_t* multiplicity;  // reflections in the line
  double* intensity;           // summed over the line, unscaled
};

// Upper bound on the number of lines (and on the independent reflections) of one lattice. Throws std::invalid_argument
// for a flat cell and std::length_error where the reflections would not fit in memory.
std::int64_t reflection_capacity(const double* lattice, double wavelength, double two_theta_max);

// Lines of the only crystal in the batch, returns how many. b_iso: overall Debye–Waller B, Å², I · exp(−2 B s²).
std::int64_t reflections(const CrystalBatch& crystal, double wavelength, double two_theta_max, double b_iso,
                         const ReflectionArrays& out);

// out (count, n_bins): the strongest line in each bin of 180/n_bins degrees, highest bin = 1.
void powder_pattern(const CrystalBatch& crystals, double wavelength, std::int64_t n_bins, int n_threads, double* out);

// The same on the GPU. Every pointer is a device pointer. Crystal i owns the workspace slots
// [slot_offsets[i], slot_offsets[i + 1]), at least reflection_capacity() of them, 24 bytes a slot.
// Sums of a line run in no fixed order, so that the last digits may differ from call to call.
void powder_pattern_cuda(const CrystalBatch& crystals, double wavelength, std::int64_t n_bins,
                         const std::int64_t* slot_offsets, void* workspace, double* out, void* stream);
inline constexpr std::int64_t kSlotBytes = 24;

}  // namespace crystalnet
