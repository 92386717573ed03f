#include "crystalnet/build.hpp"

namespace crystalnet {

bool cuda_built() { return true; }

}  // namespace crystalnet
