// Geometry of the limiting sphere, shared by the CPU and CUDA kernels.
#pragma once

#include <cmath>

#include "crystalnet/host_device.hpp"

namespace crystalnet {

inline constexpr double kPi = 3.14159265358979323846;
inline constexpr double kSphereTolerance = 1e-8;  // 1/Å, keeps a reflection that lies on the limiting sphere
// At 2θ = 180° the Lorentz factor is infinite, and cells with d = λ/2 exactly exist (a = 7.11 Å at 0.711 Å): such a
// line lies outside the pattern, wherever rounding puts it.
inline constexpr double kBackscattering = 1 - 1e-12;  // sinθ

// Reciprocal cell (no 2π) and the box of indices around the sphere |G| < radius.
struct ReciprocalBox {
  double vector[3][3];  // rows a*, b*, c* in 1/Å
  double radius;        // 1/Å, tolerance included
  double volume;        // of the direct cell, Å³
  int limit[3];         // |h|, |k|, |l| of any point in the sphere
};

CRYSTALNET_HD inline ReciprocalBox reciprocal_box(const double* lattice, double wavelength, double two_theta_max) {
  ReciprocalBox box;
  for (int i = 0; i < 3; ++i) {
    const double* u = lattice + 3 * ((i + 1) % 3);
    const double* v = lattice + 3 * ((i + 2) % 3);
    for (int j = 0; j < 3; ++j) {
      box.vector[i][j] = u[(j + 1) % 3] * v[(j + 2) % 3] - u[(j + 2) % 3] * v[(j + 1) % 3];
    }
  }
  double volume = 0;
  for (int j = 0; j < 3; ++j) volume += lattice[j] * box.vector[0][j];
  for (auto& row : box.vector) {
    for (double& value : row) value /= volume;
  }
  box.volume = fabs(volume);
  box.radius = fmin(2 * sin(two_theta_max * (kPi / 360)) / wavelength + kSphereTolerance,
                    2 * kBackscattering / wavelength);
  for (int i = 0; i < 3; ++i) {
    // h = G·a, so |h| <= |G||a|
    const double* a = lattice + 3 * i;
    box.limit[i] = static_cast<int>(box.radius * sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]));
  }
  return box;
}

}  // namespace crystalnet
