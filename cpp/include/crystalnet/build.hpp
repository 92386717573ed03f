// What this build can do.
#pragma once

namespace crystalnet {

// Whether the CUDA kernels are compiled in (a GPU may still be absent).
bool cuda_built();

}  // namespace crystalnet
