// Stands in for every CUDA kernel in a build without CUDA.
#include <stdexcept>

#include "crystalnet/build.hpp"
#include "crystalnet/powder_pattern.hpp"

namespace crystalnet {
namespace {

[[noreturn]] void refuse() { throw std::runtime_error("this build of crystalnet has no CUDA kernels"); }

}  // namespace

bool cuda_built() { return false; }

void powder_pattern_cuda(const CrystalBatch&, double, std::int64_t, const std::int64_t*, void*, double*, void*) {
  refuse();
}

}  // namespace crystalnet
