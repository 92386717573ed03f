// One block a crystal: its threads are the team of crystalnet/fit_sites_rounds.hpp. Small matrices lie in shared
// memory.
#include "crystalnet/fit_sites.hpp"

#include <vector>

#include "check.hpp"
#include "crystalnet/fit_sites_rounds.hpp"

namespace crystalnet {
namespace {

constexpr int kThreads = 128;  // a search has 10² to 10³ reflections and a few times as many matrix elements
constexpr std::int64_t kSharedBytes = 48 << 10;  // what a block gets without asking: some 70 free coordinates

struct Block {
  int rank, size;
  CRYSTALNET_HD void sync() const {
#ifdef __CUDA_ARCH__
    __syncthreads();
#endif
  }
};

__global__ void __launch_bounds__(kThreads) fit_kernel(FitMemory memory, int rounds, bool shared) {
  extern __shared__ double small[];
  const Block team{static_cast<int>(threadIdx.x), kThreads};
  const std::int64_t i = blockIdx.x;
  FitRounds<Block>(team, memory, i, shared ? small : memory.small + i * memory.small_size).run(rounds);
}

}  // namespace

std::int64_t fit_sites_workspace(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals) {
  return FitMemory(FitLines(targets, used, crystals), targets.lattice, crystals, kThreads, nullptr, nullptr).bytes;
}

void fit_sites_cuda(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds,
                    void* workspace, void* stream) {
  if (crystals.count == 0) return;
  const FitLines lines(targets, used, crystals);
  std::vector<char> staging;
  const FitMemory memory(lines, targets.lattice, crystals, kThreads, workspace, &staging);
  const auto queue = static_cast<cudaStream_t>(stream);
  check_cuda(cudaMemcpyAsync(workspace, staging.data(), staging.size(), cudaMemcpyHostToDevice, queue), "fit_sites");
  const auto small_bytes = memory.small_size * static_cast<std::int64_t>(sizeof(double));
  const bool shared = small_bytes <= kSharedBytes;
  fit_kernel<<<static_cast<unsigned>(crystals.count), kThreads, shared ? small_bytes : 0, queue>>>(memory, rounds,
                                                                                                   shared);
  check_cuda(cudaGetLastError(), "fit_sites");
  const auto back = [&](double* to, const double* from, std::int64_t n) {
    check_cuda(cudaMemcpyAsync(to, from, n * sizeof(double), cudaMemcpyDeviceToHost, queue), "fit_sites");
  };
  back(crystals.u, memory.u, crystals.free_offsets[crystals.count]);
  back(crystals.b_iso, memory.b_iso, crystals.count);
  back(crystals.residual, memory.residual, crystals.count);
  check_cuda(cudaStreamSynchronize(queue), "fit_sites");
}

}  // namespace crystalnet
