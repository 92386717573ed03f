// Conversion and checks only: addresses and sizes in, the core's functions out. The caller keeps the arrays alive.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "crystalnet/build.hpp"
#include "crystalnet/film_decode.hpp"
#include "crystalnet/fit_sites.hpp"
#include "crystalnet/index_cells.hpp"
#include "crystalnet/powder_pattern.hpp"
#include "crystalnet/relax_sites.hpp"
#include "crystalnet/ssim3d_rotations.hpp"
#include "crystalnet/stratified_sample.hpp"

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

SampleRequest sample_request(std::int64_t crystals, Address maps, Address rows, int grid, bool half, int samples,
                             std::uint64_t seed, int mode, bool shared) {
  require(crystals >= 0, "the number of crystals is negative");
  require(grid > 0 && grid <= kMaxGrid, "a map must have 1 to 1024 points along each axis");
  require(samples > 0 && samples <= kMaxSamples, "samples must lie between 1 and 1024");
  require(mode >= 0 && mode <= static_cast<int>(SampleMode::kVoxel), "no such sample mode");
  return {crystals,
          at<const void* const>(maps),
          at<const std::int64_t>(rows),
          grid,
          half,
          samples,
          seed,
          static_cast<SampleMode>(mode),
          shared};
}

void bind_stratified_sample(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  m.def(
      "stratified_sample",
      [](std::int64_t crystals, Address maps, Address rows, int grid, bool half, int samples, std::uint64_t seed,
         int mode, bool shared, int n_threads, Address points, Address densities) {
        stratified_sample(sample_request(crystals, maps, rows, grid, half, samples, seed, mode, shared), n_threads,
                          at<float>(points), at<float>(densities));
      },
      "crystals"_a, "maps"_a, "rows"_a, "grid"_a, "half"_a, "samples"_a, "seed"_a, "mode"_a, "shared"_a, "n_threads"_a,
      "points"_a, "densities"_a, no_gil);
  m.def(
      "stratified_sample_cuda",
      [](std::int64_t crystals, Address maps, Address rows, int grid, bool half, int samples, std::uint64_t seed,
         int mode, bool shared, Address points, Address densities, Address stream) {
        stratified_sample_cuda(sample_request(crystals, maps, rows, grid, half, samples, seed, mode, shared),
                               at<float>(points), at<float>(densities), at<void>(stream));
      },
      "crystals"_a, "maps"_a, "rows"_a, "grid"_a, "half"_a, "samples"_a, "seed"_a, "mode"_a, "shared"_a, "points"_a,
      "densities"_a, "stream"_a, no_gil);
}

SimilarityRequest similarity_request(std::int64_t n, Address truth, std::int64_t guesses, Address guess,
                                     std::int64_t count, Address rotations) {
  require(n >= kWindow && n <= kMaxSimilarityGrid, "the maps must have 7 to 1024 points along each axis");
  require(guesses >= 0, "the number of guesses is negative");
  require(count > 0 && count <= kMaxRotations, "between 1 and 48 rotations");
  SimilarityRequest request{static_cast<int>(n),    at<const float>(truth),  guesses,
                            at<const float>(guess), static_cast<int>(count), {}};
  const auto* codes = at<const std::int32_t>(rotations);
  for (std::int64_t r = 0; r < count; ++r) {
    int seen = 0;
    for (int a = 0; a < 3; ++a) {
      const std::int32_t axis = codes[6 * r + a], sign = codes[6 * r + 3 + a];
      require(axis >= 0 && axis < 3 && (sign == 1 || sign == -1), "a rotation is three axes, then three signs");
      seen |= 1 << axis;
      request.rotations[r].axis[a] = axis;
      request.rotations[r].flipped[a] = sign < 0;
    }
    require(seen == 7, "a rotation names each axis once");
  }
  return request;
}

void bind_ssim3d_rotations(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  m.def(
      "ssim3d_rotations",
      [](std::int64_t n, Address truth, std::int64_t guesses, Address guess, std::int64_t count, Address rotations,
         int n_threads, Address ssim, Address psnr) {
        ssim3d_rotations(similarity_request(n, truth, guesses, guess, count, rotations), n_threads, at<double>(ssim),
                         at<double>(psnr));
      },
      "n"_a, "truth"_a, "guesses"_a, "guess"_a, "count"_a, "rotations"_a, "n_threads"_a, "ssim"_a, "psnr"_a, no_gil);
  m.def(
      "ssim3d_rotations_workspace",
      [](std::int64_t n, std::int64_t guesses, std::int64_t count, Address rotations) {
        return ssim3d_rotations_workspace(similarity_request(n, 0, guesses, 0, count, rotations));
      },
      "n"_a, "guesses"_a, "count"_a, "rotations"_a);
  m.def(
      "ssim3d_rotations_cuda",
      [](std::int64_t n, Address truth, std::int64_t guesses, Address guess, std::int64_t count, Address rotations,
         Address workspace, Address ssim, Address psnr, Address stream) {
        ssim3d_rotations_cuda(similarity_request(n, truth, guesses, guess, count, rotations), at<void>(workspace),
                              at<double>(ssim), at<double>(psnr), at<void>(stream));
      },
      "n"_a, "truth"_a, "guesses"_a, "guess"_a, "count"_a, "rotations"_a, "workspace"_a, "ssim"_a, "psnr"_a, "stream"_a,
      no_gil);
}

// A decoder with the layers that its pointers need.
struct BoundDecoder {
  using Layer = std::tuple<Address, Address, std::int64_t, std::int64_t, unsigned>;  // weight, bias, in, out, flags
  std::vector<DenseLayer> position, trunk;
  FilmDecoder decoder;

  BoundDecoder(std::int64_t n_frequencies, Address rows, float centre, const std::vector<Layer>& position_layers,
               bool junction_relu, const std::vector<Layer>& trunk_layers, std::int64_t width, Address head_weight,
               Address head_bias, bool softplus)
      : position(layers(position_layers)),
        trunk(layers(trunk_layers)),
        decoder{n_frequencies,
                at<const float>(rows),
                centre,
                static_cast<std::int64_t>(position.size()),
                position.data(),
                junction_relu,
                static_cast<std::int64_t>(trunk.size()),
                trunk.data(),
                width,
                at<const float>(head_weight),
                at<const float>(head_bias),
                softplus} {}
  BoundDecoder(const BoundDecoder&) = delete;

  static std::vector<DenseLayer> layers(const std::vector<Layer>& tuples) {
    std::vector<DenseLayer> result;
    for (const auto& [weight, bias, in, out, flags] : tuples)
      result.push_back({at<const float>(weight), at<const float>(bias), in, out, flags});
    return result;
  }
};

void check_sizes(std::int64_t crystals, std::int64_t n_points) {
  require(crystals >= 0 && n_points >= 0, "the numbers of crystals and points must not be negative");
}

void bind_film_decode(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  py::class_<BoundDecoder>(m, "FilmDecoder")
      .def(py::init<std::int64_t, Address, float, const std::vector<BoundDecoder::Layer>&, bool,
                    const std::vector<BoundDecoder::Layer>&, std::int64_t, Address, Address, bool>(),
           "n_frequencies"_a, "rows"_a, "centre"_a, "position"_a, "junction_relu"_a, "trunk"_a, "width"_a,
           "head_weight"_a, "head_bias"_a, "softplus"_a);
  m.def("film_decode_instructions", &film_decode_instructions, "bf16"_a);
  m.def(
      "film_decode",
      [](const BoundDecoder& bound, std::int64_t crystals, Address film, Address amplitude, std::int64_t n_points,
         Address points, bool bf16, int n_threads, Address out) {
        check_sizes(crystals, n_points);
        film_decode(bound.decoder, crystals, at<const float>(film), at<const float>(amplitude), n_points,
                    at<const float>(points), bf16, n_threads, at<float>(out));
      },
      "decoder"_a, "crystals"_a, "film"_a, "amplitude"_a, "n_points"_a, "points"_a, "bf16"_a, "n_threads"_a, "out"_a,
      no_gil);
  m.def(
      "film_decode_backward",
      [](const BoundDecoder& bound, std::int64_t crystals, Address film, Address amplitude, std::int64_t n_points,
         Address points, Address grad, bool bf16, int n_threads, const std::vector<Address>& layer_grads,
         Address head_weight_grad, Address head_bias_grad, Address film_grad, Address amplitude_grad) {
        check_sizes(crystals, n_points);
        const std::size_t n_position = bound.position.size(), n_layers = n_position + bound.trunk.size();
        require(layer_grads.size() == 2 * n_layers, "a weight and a bias gradient for each layer");
        std::vector<LayerGradient> layers;
        for (std::size_t i = 0; i < n_layers; ++i)
          layers.push_back({at<float>(layer_grads[2 * i]), at<float>(layer_grads[2 * i + 1])});
        film_decode_backward(bound.decoder, crystals, at<const float>(film), at<const float>(amplitude), n_points,
                             at<const float>(points), at<const float>(grad), bf16, n_threads,
                             {layers.data(), layers.data() + n_position, at<float>(head_weight_grad),
                              at<float>(head_bias_grad), at<float>(film_grad), at<float>(amplitude_grad)});
      },
      "decoder"_a, "crystals"_a, "film"_a, "amplitude"_a, "n_points"_a, "points"_a, "grad"_a, "bf16"_a, "n_threads"_a,
      "layer_grads"_a, "head_weight_grad"_a, "head_bias_grad"_a, "film_grad"_a, "amplitude_grad"_a, no_gil);
  m.def(
      "film_decode_workspace",
      [](const BoundDecoder& bound, bool bf16) { return film_decode_workspace(bound.decoder, bf16); }, "decoder"_a,
      "bf16"_a);
  m.def(
      "film_decode_cuda",
      [](const BoundDecoder& bound, std::int64_t crystals, Address film, Address amplitude, std::int64_t n_points,
         Address points, bool bf16, Address workspace, Address out, Address stream) {
        check_sizes(crystals, n_points);
        film_decode_cuda(bound.decoder, crystals, at<const float>(film), at<const float>(amplitude), n_points,
                         at<const float>(points), bf16, at<void>(workspace), at<float>(out), at<void>(stream));
      },
      "decoder"_a, "crystals"_a, "film"_a, "amplitude"_a, "n_points"_a, "points"_a, "bf16"_a, "workspace"_a, "out"_a,
      "stream"_a, no_gil);
}

PowderLines powder_lines(std::int64_t count, Address two_theta, Address tolerance, Address spurious, double wavelength,
                         double two_theta_min, double max_zero) {
  require(count >= 0 && count <= kMaxIndexLines, "between 0 and 128 lines");
  require(wavelength > 0 && wavelength < 100, "the wavelength must lie between 0 and 100 angstrom");
  require(max_zero >= 0 && max_zero < 10, "the zero shift searched must lie between 0 and 10 degrees");
  return {count,
          at<const double>(two_theta),
          at<const double>(tolerance),
          at<const double>(spurious),
          wavelength,
          two_theta_min,
          max_zero};
}

void bind_index_cells(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  m.attr("index_max_lines") = kMaxIndexLines;
  m.attr("index_cell_bytes") = sizeof(IndexedCell);
  m.def("index_lattice_count", &index_lattice_count);
  m.def(
      "index_search",
      [](std::int64_t count, Address two_theta, Address tolerance, Address spurious, double wavelength,
         double two_theta_min, double max_zero, Address chosen, int n_threads, std::int64_t capacity, Address out) {
        return index_search(powder_lines(count, two_theta, tolerance, spurious, wavelength, two_theta_min, max_zero),
                            at<const std::uint8_t>(chosen), n_threads, capacity, at<IndexedCell>(out));
      },
      "count"_a, "two_theta"_a, "tolerance"_a, "spurious"_a, "wavelength"_a, "two_theta_min"_a, "max_zero"_a,
      "chosen"_a, "n_threads"_a, "capacity"_a, "out"_a, no_gil);
  m.def(
      "index_rate",
      [](std::int64_t count, Address two_theta, Address tolerance, Address spurious, double wavelength,
         double two_theta_min, double max_zero, std::int64_t cells, double slack, int rounds, int n_threads,
         Address in_out) {
        require(cells >= 0 && rounds >= 0, "the numbers of cells and rounds must not be negative");
        auto* const first = at<IndexedCell>(in_out);
        for (std::int64_t i = 0; i < cells; ++i)
          require(first[i].lattice >= 0 && first[i].lattice < index_lattice_count(), "no such lattice");
        index_rate(powder_lines(count, two_theta, tolerance, spurious, wavelength, two_theta_min, max_zero), cells,
                   slack, rounds, n_threads, first);
      },
      "count"_a, "two_theta"_a, "tolerance"_a, "spurious"_a, "wavelength"_a, "two_theta_min"_a, "max_zero"_a, "cells"_a,
      "slack"_a, "rounds"_a, "n_threads"_a, "in_out"_a, no_gil);
}

LatticeTargets lattice_targets(std::int64_t reflections, Address hkl, Address s_squared, Address weight, Address target,
                               std::int64_t observed, Address amplitude, std::int64_t unseen, Address limit,
                               Address lattice, double least_b) {
  require(reflections >= 0 && observed >= 0 && unseen >= 0, "a number is negative");
  return {reflections,
          at<const std::int32_t>(hkl),
          at<const double>(s_squared),
          at<const double>(weight),
          at<const std::int32_t>(target),
          observed,
          at<const double>(amplitude),
          unseen,
          at<const double>(limit),
          at<const double>(lattice),
          least_b};
}

SitesBatch sites_batch(std::int64_t count, Address atom_offsets, Address free_offsets, Address atomic_numbers,
                       Address frac_coords, Address directions, Address columns, Address form_factors, Address hold,
                       Address u, Address b_iso, Address residual) {
  require(count >= 0, "the number of crystals is negative");
  return {count,
          at<const std::int64_t>(atom_offsets),
          at<const std::int64_t>(free_offsets),
          at<const std::int64_t>(atomic_numbers),
          at<const double>(frac_coords),
          at<const double>(directions),
          at<const std::int32_t>(columns),
          at<const double>(form_factors),
          at<const double>(hold),
          at<double>(u),
          at<double>(b_iso),
          at<double>(residual)};
}

void bind_fit_sites(py::module_& m) {
  using namespace py::literals;
  const py::call_guard<py::gil_scoped_release> no_gil;

  const auto on_host = [&](const char* name, auto* run) {
    m.def(
        name,
        [run](std::int64_t reflections, Address hkl, Address s_squared, Address weight, Address target,
              std::int64_t observed, Address amplitude, std::int64_t unseen, Address limit, Address lattice,
              double least_b, std::int64_t used, std::int64_t count, Address atom_offsets, Address free_offsets,
              Address atomic_numbers, Address frac_coords, Address directions, Address columns, Address form_factors,
              Address hold, int rounds, int n_threads, Address u, Address b_iso, Address residual) {
          require(used >= 0 && rounds >= 0 && n_threads > 0, "used or rounds is negative, or no thread");
          run(lattice_targets(reflections, hkl, s_squared, weight, target, observed, amplitude, unseen, limit, lattice,
                              least_b),
              used,
              sites_batch(count, atom_offsets, free_offsets, atomic_numbers, frac_coords, directions, columns,
                          form_factors, hold, u, b_iso, residual),
              rounds, n_threads);
        },
        "reflections"_a, "hkl"_a, "s_squared"_a, "weight"_a, "target"_a, "observed"_a, "amplitude"_a, "unseen"_a,
        "limit"_a, "lattice"_a, "least_b"_a, "used"_a, "count"_a, "atom_offsets"_a, "free_offsets"_a,
        "atomic_numbers"_a, "frac_coords"_a, "directions"_a, "columns"_a, "form_factors"_a, "hold"_a, "rounds"_a,
        "n_threads"_a, "u"_a, "b_iso"_a, "residual"_a, no_gil);
  };
  on_host("fit_sites", &fit_sites);
  on_host("fit_sites_as_block", &fit_sites_as_block);
  m.def(
      "fit_sites_workspace",
      [](std::int64_t reflections, Address hkl, Address s_squared, Address weight, Address target,
         std::int64_t observed, Address amplitude, std::int64_t unseen, Address limit, Address lattice, double least_b,
         std::int64_t used, std::int64_t count, Address atom_offsets, Address free_offsets, Address atomic_numbers,
         Address frac_coords, Address directions, Address columns, Address form_factors, Address hold) {
        require(used >= 0, "used is negative");
        return fit_sites_workspace(lattice_targets(reflections, hkl, s_squared, weight, target, observed, amplitude,
                                                   unseen, limit, lattice, least_b),
                                   used,
                                   sites_batch(count, atom_offsets, free_offsets, atomic_numbers, frac_coords,
                                               directions, columns, form_factors, hold, 0, 0, 0));
      },
      "reflections"_a, "hkl"_a, "s_squared"_a, "weight"_a, "target"_a, "observed"_a, "amplitude"_a, "unseen"_a,
      "limit"_a, "lattice"_a, "least_b"_a, "used"_a, "count"_a, "atom_offsets"_a, "free_offsets"_a, "atomic_numbers"_a,
      "frac_coords"_a, "directions"_a, "columns"_a, "form_factors"_a, "hold"_a, no_gil);
  m.def(
      "fit_sites_cuda",
      [](std::int64_t reflections, Address hkl, Address s_squared, Address weight, Address target,
         std::int64_t observed, Address amplitude, std::int64_t unseen, Address limit, Address lattice, double least_b,
         std::int64_t used, std::int64_t count, Address atom_offsets, Address free_offsets, Address atomic_numbers,
         Address frac_coords, Address directions, Address columns, Address form_factors, Address hold, int rounds,
         Address workspace, Address u, Address b_iso, Address residual, Address stream) {
        require(used >= 0 && rounds >= 0, "used or rounds is negative");
        fit_sites_cuda(lattice_targets(reflections, hkl, s_squared, weight, target, observed, amplitude, unseen, limit,
                                       lattice, least_b),
                       used,
                       sites_batch(count, atom_offsets, free_offsets, atomic_numbers, frac_coords, directions, columns,
                                   form_factors, hold, u, b_iso, residual),
                       rounds, at<void>(workspace), at<void>(stream));
      },
      "reflections"_a, "hkl"_a, "s_squared"_a, "weight"_a, "target"_a, "observed"_a, "amplitude"_a, "unseen"_a,
      "limit"_a, "lattice"_a, "least_b"_a, "used"_a, "count"_a, "atom_offsets"_a, "free_offsets"_a, "atomic_numbers"_a,
      "frac_coords"_a, "directions"_a, "columns"_a, "form_factors"_a, "hold"_a, "rounds"_a, "workspace"_a, "u"_a,
      "b_iso"_a, "residual"_a, "stream"_a, no_gil);
}

void bind_relax_sites(py::module_& m) {
  using namespace py::literals;
  m.def(
      "relax_sites",
      [](Address lattice, std::int64_t atoms, Address frac_coords, Address directions, Address columns,
         std::int64_t free, std::int64_t images, Address shifts, std::int64_t orbits, Address one, Address share,
         Address shortest, Address sums, Address longest, Address anion, std::int64_t count, std::int64_t steps,
         Address lengths, int n_threads, Address u, Address strain) {
        require(count >= 0 && steps >= 0 && n_threads > 0, "count or steps is negative, or no thread");
        const UsualDistances usual{at<const double>(lattice),
                                   atoms,
                                   at<const double>(frac_coords),
                                   at<const double>(directions),
                                   at<const std::int32_t>(columns),
                                   free,
                                   images,
                                   at<const double>(shifts),
                                   orbits,
                                   at<const std::int64_t>(one),
                                   at<const double>(share),
                                   at<const double>(shortest),
                                   at<const double>(sums),
                                   at<const double>(longest),
                                   at<const std::uint8_t>(anion)};
        relax_sites(usual, count, steps, at<const double>(lengths), n_threads, at<double>(u), at<double>(strain));
      },
      "lattice"_a, "atoms"_a, "frac_coords"_a, "directions"_a, "columns"_a, "free"_a, "images"_a, "shifts"_a,
      "orbits"_a, "one"_a, "share"_a, "shortest"_a, "sums"_a, "longest"_a, "anion"_a, "count"_a, "steps"_a, "lengths"_a,
      "n_threads"_a, "u"_a, "strain"_a, py::call_guard<py::gil_scoped_release>());
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "Compiled kernels of crystalnet; call them through crystalnet.ops.";
  m.def("cuda_built", &cuda_built);
  bind_film_decode(m);
  bind_fit_sites(m);
  bind_index_cells(m);
  bind_powder_pattern(m);
  bind_relax_sites(m);
  bind_ssim3d_rotations(m);
  bind_stratified_sample(m);
}
