// Conversion and checks only: addresses and sizes in, the core's functions out. The caller keeps the arrays alive.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "crystalnet/build.hpp"
#include "crystalnet/powder_pattern.hpp"

namespace py = pybind11;
using namespace crystalnet;

namespace {

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void check_range(double wavelength, double two_theta_max) {
  require(wavelength > 0 && wavelength < 100, "the wavelength must lie between 0 and 100 angstrom");
  require(two_theta_max > 0 && two_theta_max <= 180, "two_theta_max must lie in (0, 180] degrees");
}

CrystalBatch crystal_batch(std::int64_t count, Address lattices, Address atom_offsets, Address frac_coords,
                           Address atomic_numbers, Address form_factors) {
  require(count >= 0, "the number of crystals is negative");
  return {count,
          at<const double>(lattices),
          at<const std::int64_t>(atom_offsets),
          at<const double>(frac_coords),
          at<const std::int64_t>(atomic_numbers),
          at<const double>(form_factors)};
}

void bind_powder_pattern(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  m.attr("slot_bytes") = kSlotBytes;
  m.def(
      "reflection_capacity",
      [](Address lattice, double wavelength, double two_theta_max) {
        check_range(wavelength, two_theta_max);
        return reflection_capacity(at<const double>(lattice), wavelength, two_theta_max);
      },
      "lattice"_a, "wavelength"_a, "two_theta_max"_a);
  m.def(
      "reflections",
      [](Address lattice, std::int64_t n_atoms, Address frac_coords, Address atomic_numbers, Address form_factors,
         double wavelength, double two_theta_max, double b_iso, Address two_theta, Address d_spacing, Address hkl,
         Address multiplicity, Address intensity) {
        check_range(wavelength, two_theta_max);
        require(n_atoms >= 0, "the number of atoms is negative");
        const std::int64_t offsets[] = {0, n_atoms};
        const CrystalBatch crystal{1,
                                   at<const double>(lattice),
                                   offsets,
                                   at<const double>(frac_coords),
                                   at<const std::int64_t>(atomic_numbers),
                                   at<const double>(form_factors)};
        return reflections(crystal, wavelength, two_theta_max, b_iso,
                           {at<double>(two_theta), at<double>(d_spacing), at<std::int64_t>(hkl),
                            at<std::int64_t>(multiplicity), at<double>(intensity)});
      },
      "lattice"_a, "n_atoms"_a, "frac_coords"_a, "atomic_numbers"_a, "form_factors"_a, "wavelength"_a,
      "two_theta_max"_a, "b_iso"_a, "two_theta"_a, "d_spacing"_a, "hkl"_a, "multiplicity"_a, "intensity"_a, no_gil);
  m.def(
      "powder_pattern",
      [](std::int64_t count, Address lattices, Address atom_offsets, Address frac_coords, Address atomic_numbers,
         Address form_factors, double wavelength, std::int64_t n_bins, int n_threads, Address out) {
        check_range(wavelength, 180.0);
        require(n_bins > 0, "n_bins must be positive");
        powder_pattern(crystal_batch(count, lattices, atom_offsets, frac_coords, atomic_numbers, form_factors),
                       wavelength, n_bins, n_threads, at<double>(out));
      },
      "count"_a, "lattices"_a, "atom_offsets"_a, "frac_coords"_a, "atomic_numbers"_a, "form_factors"_a, "wavelength"_a,
      "n_bins"_a, "n_threads"_a, "out"_a, no_gil);
  m.def(
      "powder_pattern_cuda",
      [](std::int64_t count, Address lattices, Address atom_offsets, Address frac_coords, Address atomic_numbers,
         Address form_factors, double wavelength, std::int64_t n_bins, Address slot_offsets, Address workspace,
         Address out, Address stream) {
        check_range(wavelength, 180.0);
        require(n_bins > 0, "n_bins must be positive");
        powder_pattern_cuda(crystal_batch(count, lattices, atom_offsets, frac_coords, atomic_numbers, form_factors),
                            wavelength, n_bins, at<const std::int64_t>(slot_offsets), at<void>(workspace),
                            at<double>(out), at<void>(stream));
      },
      "count"_a, "lattices"_a, "atom_offsets"_a, "frac_coords"_a, "atomic_numbers"_a, "form_factors"_a, "wavelength"_a,
      "n_bins"_a, "slot_offsets"_a, "workspace"_a, "out"_a, "stream"_a, no_gil);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "Compiled kernels of crystalnet; call them through crystalnet.ops.";
  m.def("cuda_built", &cuda_built);
  bind_powder_pattern(m);
}
