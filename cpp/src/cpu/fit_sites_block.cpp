// The GPU's rounds by threads of the host, which meet as those of a block do. For tests: fit_sites is faster.
#include <algorithm>
#include <barrier>
#include <vector>

#include "crystalnet/fit_sites_rounds.hpp"
#include "parallel.hpp"

namespace crystalnet {
namespace {

struct HostTeam {
  int rank, size;
  std::barrier<>* meeting;
  void sync() const { meeting->arrive_and_wait(); }
};

}  // namespace

void fit_sites_as_block(const LatticeTargets& targets, std::int64_t used, const SitesBatch& crystals, int rounds,
                        int n_threads) {
  const FitLines lines(targets, used, crystals);
  std::vector<char> space(FitMemory(lines, targets.lattice, crystals, n_threads, nullptr, nullptr).bytes), staging;
  const FitMemory memory(lines, targets.lattice, crystals, n_threads, space.data(), &staging);
  std::copy(staging.begin(), staging.end(), space.begin());
  std::barrier<> meeting(n_threads);
  parallel_for(n_threads, n_threads, [&](std::int64_t rank) {
    const HostTeam team{static_cast<int>(rank), n_threads, &meeting};
    for (std::int64_t i = 0; i < crystals.count; ++i)
      FitRounds<HostTeam>(team, memory, i, memory.small + i * memory.small_size).run(rounds);
  });
  std::copy_n(memory.u, crystals.free_offsets[crystals.count], crystals.u);
  std::copy_n(memory.b_iso, crystals.count, crystals.b_iso);
  std::copy_n(memory.residual, crystals.count, crystals.residual);
}

}  // namespace crystalnet
