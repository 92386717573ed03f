// Calls every CPU kernel on odd shapes, empty batches and one to three threads, each array exactly as long as promised.
// Built with the address and undefined-behaviour sanitizers by `make sanitize`; right answers are the Python tests'
// part.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "crystalnet/film_decode.hpp"
#include "crystalnet/fit_sites.hpp"
#include "crystalnet/index_cells.hpp"
#include "crystalnet/powder_pattern.hpp"
#include "crystalnet/relax_sites.hpp"
#include "crystalnet/ssim3d_rotations.hpp"
#include "crystalnet/stratified_sample.hpp"

using namespace crystalnet;

namespace {

std::mt19937 generator(0);

template <class T>
std::vector<T> uniform(std::int64_t n, double low = 0, double high = 1) {
  std::uniform_real_distribution<double> distribution(low, high);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) value = static_cast<T>(distribution(generator));
  return values;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "sanitize: %s\n", what);
  std::exit(1);
}

// run(n_threads) must return the same for any number of threads.
template <class Run>
auto on_threads(const Run& run) {
  const auto one = run(1);
  for (int n_threads : {2, 3}) require(run(n_threads) == one, "the number of threads changes the result");
  return one;
}

void powder_patterns() {
  const std::vector<double> factors = uniform<double>(99 * kFormFactorTerms * 2, 0.1, 10);
  for (const std::vector<std::int64_t>& offsets : {std::vector<std::int64_t>{0}, {0, 0}, {0, 1}, {0, 3, 3, 8, 9}}) {
    const auto count = static_cast<std::int64_t>(offsets.size()) - 1;
    std::vector<double> lattices = uniform<double>(9 * count, -0.5, 0.5);
    for (std::int64_t i = 0; i < 3 * count; ++i) lattices[3 * i + i % 3] += 4;
    const std::vector<double> coords = uniform<double>(3 * offsets.back(), -1, 2);
    const std::vector<std::int64_t> numbers = uniform<std::int64_t>(offsets.back(), 1, 98.9);
    const CrystalBatch batch{count, lattices.data(), offsets.data(), coords.data(), numbers.data(), factors.data()};
    for (const std::int64_t n_bins : {1, 77, 1024}) {
      const auto bins = on_threads([&](int n_threads) {
        std::vector<double> out(count * n_bins, -1);
        powder_pattern(batch, 0.711, n_bins, n_threads, out.data());
        return out;
      });
      for (const double bin : bins) require(bin >= 0 && bin <= 1, "a bin outside 0 to 1");
    }
    if (count != 1) continue;
    for (const double two_theta_max : {5.0, 60.0, 180.0}) {
      const auto n = static_cast<std::size_t>(reflection_capacity(lattices.data(), 1.2, two_theta_max));
      std::vector<double> two_theta(n), d_spacing(n), intensity(n);
      std::vector<std::int64_t> hkl(3 * n), multiplicity(n);
      const ReflectionArrays arrays{two_theta.data(), d_spacing.data(), hkl.data(), multiplicity.data(),
                                    intensity.data()};
      const std::int64_t found = reflections(batch, 1.2, two_theta_max, 0.5, arrays);
      require(found >= 0 && found <= static_cast<std::int64_t>(n), "more lines than the capacity");
    }
  }
  const std::vector<double> flat(9);
  try {
    reflection_capacity(flat.data(), 0.7, 180);
    require(false, "a flat cell was taken");
  } catch (const std::invalid_argument&) {
  }
}

template <class Value>
void samples_of(std::int64_t crystals, int grid, int samples, SampleMode mode, bool shared) {
  const std::int64_t size = static_cast<std::int64_t>(grid) * grid * grid;
  const std::int64_t n = static_cast<std::int64_t>(samples) * samples * samples;
  std::vector<std::vector<Value>> maps;  // each an array of its own, so that no neighbour hides an overrun
  std::vector<const void*> addresses;
  std::vector<std::int64_t> rows(crystals);
  std::iota(rows.begin(), rows.end(), std::int64_t{1} << 33);
  for (std::int64_t i = 0; i < crystals; ++i) maps.push_back(uniform<Value>(size, 0, 9));
  for (const auto& map : maps) addresses.push_back(map.data());
  const SampleRequest request{crystals, addresses.data(),    rows.data(), grid,  sizeof(Value) == 2,
                              samples,  0xfedcba9876543210u, mode,        shared};
  on_threads([&](int n_threads) {
    std::vector<float> points((shared ? 1 : crystals) * n * 3, -1.0f), densities(crystals * n, -1.0f);
    stratified_sample(request, n_threads, points.data(), densities.data());
    for (const float x : points) require(x >= 0 && x < 1, "a coordinate outside [0, 1)");
    for (const float density : densities) require(density >= 0 && density <= 9, "a density that no voxel has");
    points.insert(points.end(), densities.begin(), densities.end());
    return points;
  });
}

void samples() {
  for (const std::int64_t crystals : {0, 1, 3}) {
    for (const int grid : {1, 7, 50}) {
      for (const int samples : {1, 3, 9}) {
        for (const auto mode : {SampleMode::kNearest, SampleMode::kTrilinear, SampleMode::kVoxel}) {
          for (const bool shared : {false, true}) {
            samples_of<float>(crystals, grid, samples, mode, shared);
            samples_of<std::uint16_t>(crystals, grid, samples, mode, shared);
          }
        }
      }
    }
  }
}

void similarities() {
  constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const int n : {7, 8, 9, 21}) {
    const std::int64_t size = static_cast<std::int64_t>(n) * n * n;
    for (const std::int64_t guesses : {0, 1, 3}) {
      for (const int count : {1, 24, 48}) {
        const std::vector<float> truth = uniform<float>(size), guess = uniform<float>(guesses * size);
        SimilarityRequest request{n, truth.data(), guesses, guess.data(), count, {}};
        for (int r = 0; r < count; ++r) {
          for (int a = 0; a < 3; ++a) {
            request.rotations[r].axis[a] = kOrders[r % 6][a];
            request.rotations[r].flipped[a] = (r / 6 >> a & 1) != 0;
          }
        }
        const auto scores = on_threads([&](int n_threads) {
          std::vector<double> ssim(guesses * count, NAN), psnr(guesses * count, NAN);
          ssim3d_rotations(request, n_threads, ssim.data(), psnr.data());
          ssim.insert(ssim.end(), psnr.begin(), psnr.end());
          return ssim;
        });
        for (const double score : scores) require(std::isfinite(score), "a score is missing");
      }
    }
  }
}

// A decoder and the arrays that it points to.
struct Network {
  std::vector<std::vector<float>> arrays;
  std::vector<DenseLayer> position, trunk;
  FilmDecoder decoder{};
  std::int64_t n_film = 1;

  const float* array(std::int64_t n) { return arrays.emplace_back(uniform<float>(n, -0.3, 0.3)).data(); }

  DenseLayer layer(std::int64_t in, std::int64_t out, unsigned flags) {
    const float* weight = array(in * out);
    return {weight, array(out), in, out, flags};
  }

  Network(std::int64_t frequencies, const std::vector<std::int64_t>& hidden, std::int64_t width,
          const std::vector<unsigned>& flags, bool softplus) {
    std::int64_t in = 2 * frequencies;
    for (const std::int64_t out : hidden) {
      position.push_back(layer(in, out, kRelu));
      in = out;
    }
    position.push_back(layer(in, width, 0));
    for (const unsigned flag : flags) {
      trunk.push_back(layer(flag & kConcat ? 2 * width : width, width, flag));
      n_film += (flag & kFilm) != 0;
    }
    decoder.n_frequencies = frequencies;
    decoder.rows = array(3 * frequencies);
    decoder.n_position = static_cast<std::int64_t>(position.size());
    decoder.position = position.data();
    decoder.junction_relu = softplus;
    decoder.n_trunk = static_cast<std::int64_t>(trunk.size());
    decoder.trunk = trunk.data();
    decoder.width = width;
    decoder.head_weight = array(width);
    decoder.head_bias = array(1);
    decoder.softplus = softplus;
  }
};

void gradients(Network& network, std::int64_t crystals, std::int64_t n_points, bool bf16,
               const std::vector<float>& film, const std::vector<float>& amplitude, const std::vector<float>& points) {
  const std::vector<float> grad = uniform<float>(crystals * n_points);
  std::vector<std::vector<float>> arrays;
  const auto array = [&](std::size_t n) { return arrays.emplace_back(n, NAN).data(); };
  const auto layers = [&](const std::vector<DenseLayer>& like) {
    std::vector<LayerGradient> result;
    for (const DenseLayer& layer : like) {
      float* weight = array(static_cast<std::size_t>(layer.in * layer.out));
      result.push_back({weight, array(static_cast<std::size_t>(layer.out))});
    }
    return result;
  };
  const auto position = layers(network.position), trunk = layers(network.trunk);
  float* head_weight = array(static_cast<std::size_t>(network.decoder.width));
  float* head_bias = array(1);
  float* film_grad = array(film.size());
  const FilmDecoderGradient out{position.data(), trunk.data(), head_weight,
                                head_bias,       film_grad,    array(amplitude.size())};
  film_decode_backward(network.decoder, crystals, film.data(), amplitude.data(), n_points, points.data(), grad.data(),
                       bf16, 2, out);
  for (const auto& values : arrays) {
    for (const float value : values) require(std::isfinite(value), "a gradient is missing");
  }
}

void decodings() {
  constexpr unsigned kOurs = kRelu | kFilm | kResidual;
  for (const char* instructions : {"plain", "avx2", "avx512", "avx512_bf16", ""}) {
    setenv("CRYSTALNET_CPU", instructions, 1);
    for (const bool paper : {false, true}) {
      for (const std::int64_t width : {1, 33}) {
        Network network = paper ? Network(5, {17}, width, {kRelu, kRelu | kConcat, kRelu}, false)
                                : Network(6, {}, width, {kOurs, kOurs}, true);
        for (const std::int64_t crystals : {0, 1, 3}) {
          for (const std::int64_t n_points : {0, 1, 131}) {
            for (const bool bf16 : {false, true}) {
              const auto film = uniform<float>(crystals * network.n_film * 2 * width);
              const auto amplitude = uniform<float>(crystals), points = uniform<float>(3 * n_points);
              const auto densities = on_threads([&](int n_threads) {
                std::vector<float> out(crystals * n_points, 1e30f);
                film_decode(network.decoder, crystals, film.data(), amplitude.data(), n_points, points.data(), bf16,
                            n_threads, out.data());
                return out;
              });
              for (const float density : densities) require(std::fabs(density) < 1e6f, "a density is missing");
              if (!paper) gradients(network, crystals, n_points, bf16, film, amplitude, points);
            }
          }
        }
      }
    }
  }
}

// What the search returns, and cells without sense, as numbers.
void cells() {
  for (const int n : {0, 1, 2, 5, 30}) {
    std::vector<double> two_theta = uniform<double>(n, 8, 70);
    std::sort(two_theta.begin(), two_theta.end());
    const auto tolerance = uniform<double>(n, 0.005, 0.03), spurious = uniform<double>(n, 0.02, 0.4);
    const PowderLines lines{n, two_theta.data(), tolerance.data(), spurious.data(), 1.54, 5.0, n == 30 ? 0.0 : 0.3};
    const std::vector<std::uint8_t> chosen(index_lattice_count(), 1);
    on_threads([&](int n_threads) {
      std::vector<IndexedCell> found(50);
      found.resize(index_search(lines, chosen.data(), n_threads, 50, found.data()));
      std::vector<double> numbers;
      for (const IndexedCell& cell : found) numbers.insert(numbers.end(), {cell.score, cell.zero, cell.metric[0]});
      return numbers;
    });
    on_threads([&](int n_threads) {
      std::vector<IndexedCell> given(3 * index_lattice_count());
      for (std::size_t i = 0; i < given.size(); ++i) {
        const double size = i % 3 == 0 ? 1e-6 : i % 3 == 1 ? 0.03 : -1;
        given[i] = {static_cast<std::int64_t>(i / 3), {size, size, size, 0, 0, 0}, 0.1, 0, 0, 0, 0, 0};
      }
      index_rate(lines, given.size(), 0.04, 5, n_threads, given.data());
      std::vector<double> numbers;
      for (const IndexedCell& cell : given) numbers.push_back(cell.score);
      return numbers;
    });
  }
}

// Two crystals of three and no atoms, whose lines are partly not seen or not used.
void fits() {
  constexpr std::int64_t kLines = 40;
  std::vector<std::int32_t> hkl, target;
  std::vector<double> s_squared;
  for (std::int32_t r = 0; r < kLines; ++r) {
    for (const std::int32_t index : {r % 5, r % 7 - 3, r % 3}) hkl.push_back(index);
    s_squared.push_back(0.01 * (r + 1));
    target.push_back(r % 9 - 1);  // five groups seen, three lines not, −1
  }
  const auto weight = uniform<double>(kLines, 1, 2), amplitude = uniform<double>(5, 1, 9),
             limit = uniform<double>(3, 0, 1), lattice = std::vector<double>{5, 0, 0, 0, 6, 0, 1, 0, 7};
  const LatticeTargets targets{kLines,           hkl.data(), s_squared.data(), weight.data(),  target.data(), 5,
                               amplitude.data(), 3,          limit.data(),     lattice.data(), -0.5};
  const std::vector<std::int64_t> atoms{0, 3, 3}, free{0, 4, 4}, numbers{8, 14, 8};
  const auto x = uniform<double>(9), directions = uniform<double>(27, -1, 1), forms = uniform<double>(99 * 8);
  const std::vector<std::int32_t> columns{0, -1, -1, 1, 2, 3, -1, -1, 0};
  const std::vector<double> hold{0, 1, 0, 5};
  std::vector<double> first;
  for (const int n_threads : {1, 2, 3})
    for (const std::int64_t used : {kLines, std::int64_t{0}, kLines / 2})
      for (const auto fit : {fit_sites, fit_sites_as_block}) {
        std::vector<double> u(4, 0.1), b_iso(2, 0.5), residual(2);
        fit(targets, used,
            {2, atoms.data(), free.data(), numbers.data(), x.data(), directions.data(), columns.data(), forms.data(),
             hold.data(), u.data(), b_iso.data(), residual.data()},
            6, n_threads);
        require(std::isfinite(residual[0]) && std::isfinite(residual[1]), "a residual is no number");
        if (used != kLines || fit != fit_sites) continue;
        if (first.empty()) first = u;
        require(first == u, "fitted sites depend on the threads");
      }
}

void relaxations() {
  const std::vector<double> lattice{5, 0, 0, 0, 6, 0, 1, 0, 7}, share{0.25, 0.5, 0.25}, lengths{0.3, 0.2, 0.1};
  const auto x = uniform<double>(12), directions = uniform<double>(36, -1, 1), shortest = uniform<double>(12, 1, 2),
             sums = uniform<double>(12, 2, 3);
  const std::vector<std::int32_t> columns{0, -1, -1, 1, 2, 3, 1, 2, 3, -1, -1, -1};
  const std::vector<double> shifts{0, 0, 0, 1, 0, 0, -1, 0, 0};
  const std::vector<std::int64_t> one{0, 1, 3};
  const std::vector<double> longest{0.7, 0.8, 0.9, 1, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5};
  const std::vector<std::uint8_t> anion{0, 1, 1, 0};
  std::vector<double> first;
  for (const int n_threads : {1, 2, 3})
    for (const std::int64_t images : {3, 1}) {
      const UsualDistances usual{
          lattice.data(), 4, x.data(),   directions.data(), columns.data(),  4,           images,
          shifts.data(),  3, one.data(), share.data(),      shortest.data(), sums.data(), longest.data(),
          anion.data()};
      std::vector<double> u(5 * 4, 0.1), strain(5);
      relax_sites(usual, 5, 3, lengths.data(), n_threads, u.data(), strain.data());
      require(std::isfinite(strain[0]) && std::isfinite(strain[4]), "a strain is no number");
      if (images == 1) continue;
      if (first.empty()) first = u;
      require(first == u, "relaxed sites depend on the threads");
    }
}

}  // namespace

int main() {
  cells();
  fits();
  relaxations();
  decodings();
  powder_patterns();
  samples();
  similarities();
  std::puts("every CPU kernel ran under the sanitizers");
}
