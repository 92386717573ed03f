// One block a crystal. The threads walk the box of indices; a hash table in the crystal's workspace merges the
// reflections of a line, since sorting would cost more than the structure factors of a small cell.
#include "crystalnet/powder_pattern.hpp"

#include "check.hpp"
#include "crystalnet/reciprocal.hpp"

namespace crystalnet {
namespace {

constexpr int kThreads = 256;
constexpr long long kEmpty = -1;  // what memset 0xFF leaves; keys and positive doubles are never negative

struct Slot {
  long long key;         // 2θ in units of kMergeDegrees
  long long two_theta;   // bits of the line's lowest 2θ; positive doubles order like their bits
  double intensity;
};
static_assert(sizeof(Slot) == kSlotBytes);

__device__ double form_factor(const double* terms, double number, double s_squared) {
  double sum = 0;
  for (int i = 0; i < kFormFactorTerms; ++i) sum += terms[2 * i] * exp(-terms[2 * i + 1] * s_squared);
  return number - kFormFactorScale * s_squared * sum;
}

// |F|² of one reflection. Coordinates arrive in the caller's order: f is recomputed where the element changes.
__device__ double structure_factor_squared(const CrystalBatch& crystals, long long first, long long last, int h, int k,
                                           int l, double s_squared) {
  double re = 0, im = 0, factor = 0;
  long long element = -1;
  for (long long atom = first; atom < last; ++atom) {
    if (crystals.atomic_numbers[atom] != element) {
      element = crystals.atomic_numbers[atom];
      factor = form_factor(crystals.form_factors + 2 * kFormFactorTerms * element, static_cast<double>(element),
                           s_squared);
    }
    const double* x = crystals.frac_coords + 3 * atom;
    double sine, cosine;
    sincospi(2 * (h * x[0] + k * x[1] + l * x[2]), &sine, &cosine);
    re += factor * cosine;
    im += factor * sine;
  }
  return re * re + im * im;
}

__device__ void add_to_line(Slot* slots, long long n_slots, double two_theta, double intensity) {
  const auto key = static_cast<long long>(rint(two_theta / kMergeDegrees));
  // Fibonacci hashing spreads neighbouring keys
  auto place = static_cast<long long>((static_cast<unsigned long long>(key) * 11400714819323198485ull) >> 1) % n_slots;
  for (;; place = place + 1 == n_slots ? 0 : place + 1) {
    auto* cell = reinterpret_cast<unsigned long long*>(&slots[place].key);
    const auto seen = static_cast<long long>(
        atomicCAS(cell, static_cast<unsigned long long>(kEmpty), static_cast<unsigned long long>(key)));
    if (seen == kEmpty || seen == key) break;
  }
  atomicAdd(&slots[place].intensity, intensity);
  atomicMin(reinterpret_cast<unsigned long long*>(&slots[place].two_theta),
            static_cast<unsigned long long>(__double_as_longlong(two_theta)));
}

__global__ void __launch_bounds__(kThreads)
    pattern_kernel(CrystalBatch crystals, double wavelength, long long n_bins, const std::int64_t* slot_offsets,
                   Slot* workspace, double* out) {
  __shared__ ReciprocalBox box;
  __shared__ unsigned long long highest;
  const long long index = blockIdx.x;
  Slot* slots = workspace + slot_offsets[index];
  const long long n_slots = slot_offsets[index + 1] - slot_offsets[index];
  double* bins = out + index * n_bins;
  if (threadIdx.x == 0) {
    box = reciprocal_box(crystals.lattices + 9 * index, wavelength, 180.0);
    highest = 0;
  }
  for (long long i = threadIdx.x; i < n_slots; i += kThreads) slots[i] = {kEmpty, 0x7fffffffffffffffll, 0.0};
  for (long long i = threadIdx.x; i < n_bins; i += kThreads) bins[i] = 0;
  __syncthreads();

  const long long first = crystals.atom_offsets[index], last = crystals.atom_offsets[index + 1];
  const long long width = 2 * box.limit[2] + 1, height = 2 * box.limit[1] + 1;
  const long long total = (box.limit[0] + 1) * height * width;
  for (long long i = threadIdx.x; i < total; i += kThreads) {
    const int h = static_cast<int>(i / (height * width));
    const int k = static_cast<int>(i / width % height) - box.limit[1];
    const int l = static_cast<int>(i % width) - box.limit[2];
    // Friedel: only the half with h, k, l lexicographically positive
    if (h == 0 && (k < 0 || (k == 0 && l <= 0))) continue;
    double squared = 0;
    for (int j = 0; j < 3; ++j) {
      const double g = h * box.vector[0][j] + k * box.vector[1][j] + l * box.vector[2][j];
      squared += g * g;
    }
    const double length = sqrt(squared);
    if (length >= box.radius) continue;
    const double theta = asin(wavelength * length / 2);
    const double cos_two = cos(2 * theta), sin_one = sin(theta);
    const double weight = 2 * (1 + cos_two * cos_two) / (sin_one * sin_one * cos(theta));
    const double f_squared = structure_factor_squared(crystals, first, last, h, k, l, squared / 4);
    add_to_line(slots, n_slots, 2 * theta * (180 / kPi), weight * f_squared);
  }
  __syncthreads();

  for (long long i = threadIdx.x; i < n_slots; i += kThreads) {
    if (slots[i].key != kEmpty) {
      atomicMax(&highest, static_cast<unsigned long long>(__double_as_longlong(slots[i].intensity)));
    }
  }
  __syncthreads();
  const double scale = __longlong_as_double(static_cast<long long>(highest));
  if (scale == 0) return;
  for (long long i = threadIdx.x; i < n_slots; i += kThreads) {
    if (slots[i].key == kEmpty) continue;
    const double two_theta = __longlong_as_double(slots[i].two_theta);
    const auto bin = static_cast<long long>(two_theta * static_cast<double>(n_bins) / 180 + kBinTolerance);
    const double value = slots[i].intensity / scale;
    if (bin < n_bins && value > kRelativeCut) {
      atomicMax(reinterpret_cast<unsigned long long*>(bins + bin),
                static_cast<unsigned long long>(__double_as_longlong(value)));
    }
  }
}

}  // namespace

void powder_pattern_cuda(const CrystalBatch& crystals, double wavelength, std::int64_t n_bins,
                         const std::int64_t* slot_offsets, void* workspace, double* out, void* stream) {
  if (crystals.count == 0) return;
  pattern_kernel<<<static_cast<unsigned>(crystals.count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      crystals, wavelength, n_bins, slot_offsets, static_cast<Slot*>(workspace), out);
  check_cuda(cudaGetLastError(), "powder_pattern");
}

}  // namespace crystalnet
