#include "crystalnet/powder_pattern.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "clones.hpp"
#include "crystalnet/reciprocal.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

// Half of the reflections (Friedel: the other half is equal), one row (h, k) of l after the other.
struct Reflections {
  std::vector<std::int32_t> h, k, l;
  std::vector<double> length;     // |G|, 1/Å
  std::vector<std::size_t> rows;  // where each row begins, and the end
  std::vector<double> re, im;     // (elements, size): Σ exp(2πi h·x) over the atoms of the element
  std::size_t size() const { return length.size(); }
};

struct Line {
  double two_theta, length, intensity, strongest;
  std::int64_t multiplicity;
  std::int32_t h, k, l;
};

// exp(2πi n x) for n in [-limit, limit], at index n + limit.
struct PhaseTable {
  std::vector<double> re, im;
  PhaseTable(double x, int limit) : re(2 * limit + 1), im(2 * limit + 1) {
    for (int n = 0; n <= limit; ++n) {
      const double angle = 2 * kPi * (n * x);
      re[limit + n] = re[limit - n] = std::cos(angle);
      im[limit + n] = std::sin(angle);
      im[limit - n] = -im[limit + n];
    }
  }
};

// sum[l] += c · phase[l]: the whole cost of a large cell.
CRYSTALNET_CLONES
void add_row(std::int64_t n, double c_re, double c_im, const double* __restrict phase_re,
             const double* __restrict phase_im, double* __restrict sum_re, double* __restrict sum_im) {
  for (std::int64_t i = 0; i < n; ++i) {
    sum_re[i] += c_re * phase_re[i] - c_im * phase_im[i];
    sum_im[i] += c_re * phase_im[i] + c_im * phase_re[i];
  }
}

// The crystal's elements in order of atomic number, and its atoms sorted by element.
struct Elements {
  std::vector<std::int64_t> numbers, atoms, offsets;
  Elements(const std::int64_t* atomic_numbers, std::int64_t n_atoms) : atoms(n_atoms) {
    std::iota(atoms.begin(), atoms.end(), std::int64_t{0});
    std::stable_sort(atoms.begin(), atoms.end(), [=](auto i, auto j) { return atomic_numbers[i] < atomic_numbers[j]; });
    for (std::int64_t i = 0; i < n_atoms; ++i) {
      const std::int64_t number = atomic_numbers[atoms[i]];
      if (numbers.empty() || numbers.back() != number) {
        numbers.push_back(number);
        offsets.push_back(i);
      }
    }
    offsets.push_back(n_atoms);
  }
};

// The points of the half sphere without the origin.
Reflections half_sphere(const ReciprocalBox& box) {
  Reflections points;
  const auto& star = box.vector;
  const double c_squared = star[2][0] * star[2][0] + star[2][1] * star[2][1] + star[2][2] * star[2][2];
  // Half of the volume of the sphere over that of a reciprocal cell, and a shell.
  const auto expected = static_cast<std::size_t>(2 * kPi / 3 * std::pow(box.radius, 3) * box.volume * 1.2) + 64;
  for (auto* v : {&points.h, &points.k, &points.l}) v->reserve(expected);
  points.length.reserve(expected);
  for (int h = 0; h <= box.limit[0]; ++h) {
    for (int k = h == 0 ? 0 : -box.limit[1]; k <= box.limit[1]; ++k) {
      double g[3], along = 0, squared = 0;
      for (int j = 0; j < 3; ++j) {
        g[j] = h * star[0][j] + k * star[1][j];
        along += g[j] * star[2][j];
        squared += g[j] * g[j];
      }
      // |g + l c*| < radius is quadratic in l; one spare index at each end leaves rounding to the test below.
      const double centre = -along / c_squared;
      const double discriminant = centre * centre - (squared - box.radius * box.radius) / c_squared;
      if (discriminant < -1e-6) continue;
      const double half = std::sqrt(std::max(discriminant, 0.0));
      const int first = std::max(static_cast<int>(std::floor(centre - half)), -box.limit[2]);
      const int last = std::min(static_cast<int>(std::ceil(centre + half)), box.limit[2]);
      const std::size_t begin = points.size();
      for (int l = h == 0 && k == 0 ? 1 : first; l <= last; ++l) {
        const double x = g[0] + l * star[2][0], y = g[1] + l * star[2][1], z = g[2] + l * star[2][2];
        const double length = std::sqrt(x * x + y * y + z * z);
        if (length >= box.radius) continue;
        points.h.push_back(h);
        points.k.push_back(k);
        points.l.push_back(l);
        points.length.push_back(length);
      }
      if (points.size() > begin) points.rows.push_back(begin);
    }
  }
  points.rows.push_back(points.size());
  return points;
}

void add_structure_factors(const ReciprocalBox& box, const Elements& elements, const double* frac_coords,
                           Reflections& points) {
  const std::size_t size = points.size(), n_elements = elements.numbers.size();
  points.re.assign(n_elements * size, 0.0);
  points.im.assign(n_elements * size, 0.0);
  for (std::size_t e = 0; e < n_elements; ++e) {
    double* re = points.re.data() + e * size;
    double* im = points.im.data() + e * size;
    for (std::int64_t i = elements.offsets[e]; i < elements.offsets[e + 1]; ++i) {
      const double* x = frac_coords + 3 * elements.atoms[i];
      const PhaseTable ph(x[0], box.limit[0]), pk(x[1], box.limit[1]), pl(x[2], box.limit[2]);
      for (std::size_t row = 0; row + 1 < points.rows.size(); ++row) {
        const std::size_t begin = points.rows[row], end = points.rows[row + 1];
        const int h = points.h[begin] + box.limit[0], k = points.k[begin] + box.limit[1];
        const double c_re = ph.re[h] * pk.re[k] - ph.im[h] * pk.im[k];
        const double c_im = ph.re[h] * pk.im[k] + ph.im[h] * pk.re[k];
        const int l = points.l[begin] + box.limit[2];
        add_row(static_cast<std::int64_t>(end - begin), c_re, c_im, pl.re.data() + l, pl.im.data() + l, re + begin,
                im + begin);
      }
    }
  }
}

double form_factor(const double* terms, std::int64_t number, double s_squared) {
  double sum = 0;
  for (int i = 0; i < kFormFactorTerms; ++i) sum += terms[2 * i] * std::exp(-terms[2 * i + 1] * s_squared);
  return static_cast<double>(number) - kFormFactorScale * s_squared * sum;
}

// All lines of one crystal, ascending in 2θ, uncut.
std::vector<Line> lines(const CrystalBatch& crystals, std::int64_t index, double wavelength, double two_theta_max,
                        double b_iso) {
  const std::int64_t first = crystals.atom_offsets[index], n_atoms = crystals.atom_offsets[index + 1] - first;
  const double* lattice = crystals.lattices + 9 * index;
  reflection_capacity(lattice, wavelength, two_theta_max);  // refuses what cannot be enumerated
  const ReciprocalBox box = reciprocal_box(lattice, wavelength, two_theta_max);
  const Elements elements(crystals.atomic_numbers + first, n_atoms);
  Reflections points = half_sphere(box);
  add_structure_factors(box, elements, crystals.frac_coords + 3 * first, points);

  const std::size_t size = points.size(), n_elements = elements.numbers.size();
  std::vector<std::pair<double, std::uint32_t>> order(size);
  for (std::size_t i = 0; i < size; ++i) order[i] = {points.length[i], static_cast<std::uint32_t>(i)};
  std::sort(order.begin(), order.end());

  std::vector<Line> result;
  std::vector<double> factors(n_elements);
  double shell = -1, two_theta = 0, weight = 0, key = -1, last_key = -1;
  for (const auto& [length, i] : order) {
    // Symmetry-equal reflections differ by rounding only: one shell shares angle and form factors.
    if (length > shell * (1 + 1e-13)) {
      shell = length;
      const double theta = std::asin(wavelength * length / 2);
      const double cos_two = std::cos(2 * theta), sin_one = std::sin(theta), s_squared = length * length / 4;
      two_theta = 2 * theta * (180 / kPi);
      key = std::nearbyint(two_theta / kMergeDegrees);
      // 2: the Friedel mate
      weight = 2 * (1 + cos_two * cos_two) / (sin_one * sin_one * std::cos(theta)) * std::exp(-2 * b_iso * s_squared);
      for (std::size_t e = 0; e < n_elements; ++e) {
        const std::int64_t number = elements.numbers[e];
        factors[e] = form_factor(crystals.form_factors + 2 * kFormFactorTerms * number, number, s_squared);
      }
    }
    double re = 0, im = 0;
    for (std::size_t e = 0; e < n_elements; ++e) {
      re += factors[e] * points.re[e * size + i];
      im += factors[e] * points.im[e * size + i];
    }
    const double intensity = weight * (re * re + im * im);
    if (key != last_key) {
      result.push_back({two_theta, length, 0.0, -1.0, 0, 0, 0, 0});
      last_key = key;
    }
    Line& line = result.back();
    line.intensity += intensity;
    line.multiplicity += 2;
    // Equivalents tie up to rounding: the largest indices speak for them.
    const bool stronger = intensity > line.strongest * (1 + 1e-6);
    const bool tie = !stronger && intensity >= line.strongest * (1 - 1e-6);
    const std::tuple hkl{points.h[i], points.k[i], points.l[i]};
    if (stronger || (tie && hkl > std::tuple{line.h, line.k, line.l})) {
      std::tie(line.h, line.k, line.l) = hkl;
      line.strongest = std::max(line.strongest, intensity);
    }
  }
  return result;
}

}  // namespace

std::int64_t reflection_capacity(const double* lattice, double wavelength, double two_theta_max) {
  const ReciprocalBox box = reciprocal_box(lattice, wavelength, two_theta_max);
  if (!(box.volume > 1e-3)) throw std::invalid_argument("the lattice vectors span no volume");
  double capacity = box.limit[0] + 1.0;
  capacity *= (2.0 * box.limit[1] + 1) * (2.0 * box.limit[2] + 1);
  // A skewed description of a cell can ask for any box; 1e8 is a cell of half a million Å³ at Mo Kα.
  if (capacity > 1e8) throw std::length_error("more than 1e8 reflections: reduce the cell or the 2theta range");
  return static_cast<std::int64_t>(capacity);
}

std::int64_t reflections(const CrystalBatch& crystal, double wavelength, double two_theta_max, double b_iso,
                         const ReflectionArrays& out) {
  std::int64_t n = 0;
  for (const Line& line : lines(crystal, 0, wavelength, two_theta_max, b_iso)) {
    out.two_theta[n] = line.two_theta;
    out.d_spacing[n] = 1 / line.length;
    out.hkl[3 * n] = line.h;
    out.hkl[3 * n + 1] = line.k;
    out.hkl[3 * n + 2] = line.l;
    out.multiplicity[n] = line.multiplicity;
    out.intensity[n] = line.intensity;
    ++n;
  }
  return n;
}

void powder_pattern(const CrystalBatch& crystals, double wavelength, std::int64_t n_bins, int n_threads, double* out) {
  parallel_for(crystals.count, n_threads, [&](std::int64_t index) {
    double* bins = out + index * n_bins;
    std::fill(bins, bins + n_bins, 0.0);
    const auto all = lines(crystals, index, wavelength, 180.0, 0.0);
    double highest = 0;
    for (const Line& line : all) highest = std::max(highest, line.intensity);
    if (highest == 0) return;
    for (const Line& line : all) {
      const auto bin = static_cast<std::int64_t>(line.two_theta * static_cast<double>(n_bins) / 180 + kBinTolerance);
      const double height = line.intensity / highest;
      if (bin < n_bins && height > kRelativeCut) bins[bin] = std::max(bins[bin], height);
    }
  });
}

}  // namespace crystalnet
