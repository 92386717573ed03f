// The measured lines as the search and the ratings use them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "crystalnet/index_cells.hpp"

namespace crystalnet {

inline constexpr double kRadians = std::numbers::pi / 180;
// Standard deviations expected of the shift, degrees: of its mean (the zero), and of the part that goes with cosθ
// (specimen displacement).
inline constexpr double kZeroEsd = 0.12, kDisplacementEsd = 0.1;

// Lines with what depends on neither cell nor shift.
struct Prepared {
  int n;
  double wavelength, two_theta_min, usual_tolerance;
  double two_theta[kMaxIndexLines], tolerance[kMaxIndexLines], spurious[kMaxIndexLines];
  double slope[kMaxIndexLines];   // dQ/d2θ, 1/Å² per degree
  double cosine[kMaxIndexLines];  // cosθ less its mean
  double lever[kMaxIndexLines];   // |1 − tanθ/tanθ_low|: what remains of a zero error that the cell makes up for

  explicit Prepared(const PowderLines& lines)
      : n(static_cast<int>(std::min<std::int64_t>(lines.count, kMaxIndexLines))),
        wavelength(lines.wavelength),
        two_theta_min(lines.two_theta_min) {
    std::vector<double> tangents, tolerances;
    double mean = 0;
    for (int i = 0; i < n; ++i) {
      two_theta[i] = lines.two_theta[i];
      tolerance[i] = lines.tolerance[i];
      spurious[i] = lines.spurious[i];
      const double theta = two_theta[i] / 2 * kRadians;
      slope[i] = 2 / (wavelength * wavelength) * std::sin(2 * theta) * kRadians;
      cosine[i] = std::cos(theta);
      mean += cosine[i] / n;
      lever[i] = std::tan(theta);
      if (i < 12) tangents.push_back(lever[i]);
      tolerances.push_back(tolerance[i]);
    }
    const double low = median(tangents);
    for (int i = 0; i < n; ++i) {
      cosine[i] -= mean;
      lever[i] = std::abs(1 - lever[i] / low);
    }
    usual_tolerance = median(tolerances);
  }

  // Q = 1/d² of line i, corrected for the shifts.
  double q(int i, double zero, double displacement = 0) const {
    return q_at(two_theta[i] - zero - displacement * cosine[i]);
  }
  double q_at(double two_theta_degrees) const {
    const double s = 2 / wavelength * std::sin(two_theta_degrees / 2 * kRadians);
    return s * s;
  }
  double two_theta_of(double q) const { return 2 / kRadians * std::asin(std::min(1.0, wavelength / 2 * std::sqrt(q))); }

  static double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
  }
};

}  // namespace crystalnet
