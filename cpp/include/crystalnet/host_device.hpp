// CRYSTALNET_HD marks functions that both the CPU and the CUDA kernels call.
#pragma once

#ifdef __CUDACC__
#define CRYSTALNET_HD __host__ __device__
#else
#define CRYSTALNET_HD
#endif
