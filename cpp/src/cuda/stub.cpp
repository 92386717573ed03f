// Stands in for every CUDA kernel in a build without CUDA.
#include <stdexcept>

#include "crystalnet/build.hpp"
#include "crystalnet/film_decode.hpp"
#include "crystalnet/fit_sites.hpp"
#include "crystalnet/powder_pattern.hpp"
#include "crystalnet/ssim3d_rotations.hpp"
#include "crystalnet/stratified_sample.hpp"

namespace crystalnet {
namespace {

[[noreturn]] void refuse() { throw std::runtime_error("this build of crystalnet has no CUDA kernels"); }

}  // namespace

bool cuda_built() { return false; }

void film_decode_cuda(const FilmDecoder&, std::int64_t, const float*, const float*, std::int64_t, const float*, bool,
                      void*, float*, void*) {
  refuse();
}

std::int64_t film_decode_workspace(const FilmDecoder&, bool) { refuse(); }

void fit_sites_cuda(const LatticeTargets&, std::int64_t, const SitesBatch&, int, void*, void*) { refuse(); }

std::int64_t fit_sites_workspace(const LatticeTargets&, std::int64_t, const SitesBatch&) { refuse(); }

void powder_pattern_cuda(const CrystalBatch&, double, std::int64_t, const std::int64_t*, void*, double*, void*) {
  refuse();
}

void stratified_sample_cuda(const SampleRequest&, float*, float*, void*) { refuse(); }

void ssim3d_rotations_cuda(const SimilarityRequest&, void*, double*, double*, void*) { refuse(); }

std::int64_t ssim3d_rotations_workspace(const SimilarityRequest&) { refuse(); }

}  // namespace crystalnet
