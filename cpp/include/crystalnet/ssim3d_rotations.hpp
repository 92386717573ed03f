// SSIM and PSNR of one truth against guesses turned by rotations of the cube.
//
// Windows of 7³, uniform, sample covariance, the border of 3 left out, range L = max − min of the truth: equal to
// skimage.metrics.structural_similarity(win_size=7, data_range=L) and peak_signal_noise_ratio. Wang, Bovik, Sheikh &
// Simoncelli, IEEE Trans. Image Process. 13, 600 (2004). The window sums of a map turn with it, so that each is made
// once and only the cross term is new for a rotation. Maps are taken relative to their means: float32 suffices then.
#pragma once

#include <cstdint>

#include "crystalnet/host_device.hpp"

namespace crystalnet {

inline constexpr int kWindow = 7;
inline constexpr int kMaxRotations = 48;
inline constexpr int kMaxSimilarityGrid = 1024;  // its cube fits in 31 bits
inline constexpr double kLuminance = 0.01, kContrast = 0.03;  // K1 and K2 of the paper, as in skimage
inline constexpr double kLeastError = 1e-30;                  // mean square error of equal maps: keeps PSNR finite
inline constexpr double kWindowSize = kWindow * kWindow * kWindow;
inline constexpr double kUnbiased = kWindowSize / (kWindowSize - 1);

// Axis a of the turned map is axis `axis[a]` of the map, backwards where flipped (i → n − 1 − i).
struct Rotation {
  int axis[3];
  bool flipped[3];
};

struct SimilarityRequest {
  int n;                 // points along each axis, at least kWindow
  const float* truth;    // (n, n, n)
  std::int64_t guesses;
  const float* guess;    // (guesses, n, n, n)
  int n_rotations;
  Rotation rotations[kMaxRotations];  // of the guess
};

// ssim and psnr (guesses, n_rotations), psnr in dB; a truth without contrast gives nan.
void ssim3d_rotations(const SimilarityRequest& request, int n_threads, double* ssim, double* psnr);

// The same on the GPU; maps, workspace and results are device pointers.
void ssim3d_rotations_cuda(const SimilarityRequest& request, void* workspace, double* ssim, double* psnr, void* stream);

// Bytes of device memory that ssim3d_rotations_cuda wants as workspace.
std::int64_t ssim3d_rotations_workspace(const SimilarityRequest& request);

}  // namespace crystalnet
