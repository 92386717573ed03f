// Starts from single lines, pairs and triples with low indices.
#include "index_starts.hpp"

#include <algorithm>

#include "clones.hpp"

namespace crystalnet {

namespace {

constexpr int kBase = 12, kBaseOfThree = 10;  // lines of lowest angle that are indexed together: their indices are low

struct Numbers {
  double n[3];
};

// Values of the free parameters' forms (h²+hk+k² and l², ...) of low lines, once each.
std::vector<Numbers> low_lines(const LatticeRow& row, double largest, double longest) {
  std::vector<Numbers> found;
  const double unit[6] = {1, 1, 1, 0, 0, row.form[0][5] ? 1.0 : 0.0};
  visit_lines(row, unit, std::max(largest, longest * longest), [&](int h, int k, int l, double q) {
    const bool row_line = (h != 0) + (k != 0) + (l != 0) == 1;
    if (q > largest && !row_line) return true;
    const double forms[6] = {double(h * h), double(k * k), double(l * l), double(k * l), double(h * l), double(h * k)};
    Numbers numbers{};
    for (int p = 0; p < row.free; ++p)
      for (int c = 0; c < 6; ++c) numbers.n[p] += row.form[p][c] * forms[c];
    for (const Numbers& other : found)
      if (std::equal(other.n, other.n + 3, numbers.n)) return true;
    found.push_back(numbers);
    return true;
  });
  return found;
}

}  // namespace

void starts_of_one(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const auto numbers = low_lines(row, 60, 0);
  for (int i = 0; i < std::min(sieve.n, kBase); ++i)
    for (const Numbers& at : numbers) {
      const double a = sieve.q[i] / at.n[0];
      if (!edge_allowed(a)) continue;
      const double g[6] = {a, a, a, 0, 0, 0};
      sieve.test(row, g, best);
    }
}

CRYSTALNET_CLONES
void starts_of_two(const LatticeRow& row, const Sieve& sieve, Best& best) {
  std::vector<Numbers> numbers;
  {  // (M, l²) with M up to 13 and l up to 10 (18 in the threefold layers of an R lattice)
    const double orders = row.centring == Centring::kR ? 18 : 10;
    const auto all = low_lines(row, 13 + orders * orders, 0);
    for (const Numbers& at : all)
      if (at.n[0] <= 13) numbers.push_back(at);
  }
  const int lines = std::min(sieve.n, kBase);
  for (int i = 0; i < lines; ++i)
    for (int j = i + 1; j < lines; ++j)
      for (const Numbers& x : numbers)
        for (const Numbers& y : numbers) {
          const double det = x.n[0] * y.n[1] - x.n[1] * y.n[0];
          if (det == 0) continue;
          const double a = (sieve.q[i] * y.n[1] - sieve.q[j] * x.n[1]) / det;
          const double c = (sieve.q[j] * x.n[0] - sieve.q[i] * y.n[0]) / det;
          if (!edge_allowed(a) || !edge_allowed(c)) continue;
          const double g[6] = {a, a, c, 0, 0, row.form[0][5] * a};
          sieve.test(row, g, best);
        }
}

CRYSTALNET_CLONES
void starts_of_three(const LatticeRow& row, const Sieve& sieve, Best& best) {
  const auto numbers = low_lines(row, row.centring == Centring::kP ? 9 : row.centring == Centring::kF ? 12 : 10, 6);
  const bool all_alike = row.centring != Centring::kC;
  const int lines = std::min(sieve.n, kBaseOfThree);
  for (const Numbers& x : numbers)
    for (const Numbers& y : numbers)
      for (const Numbers& z : numbers) {
        const double* u = x.n;
        const double* v = y.n;
        const double* w = z.n;
        const double det = u[0] * (v[1] * w[2] - v[2] * w[1]) - u[1] * (v[0] * w[2] - v[2] * w[0]) +
                           u[2] * (v[0] * w[1] - v[1] * w[0]);
        if (det == 0) continue;
        double inverse[3][3];
        for (int p = 0; p < 3; ++p) {
          const int r = (p + 1) % 3, s = (p + 2) % 3;
          inverse[p][0] = (v[r] * w[s] - v[s] * w[r]) / det;
          inverse[p][1] = (w[r] * u[s] - w[s] * u[r]) / det;
          inverse[p][2] = (u[r] * v[s] - u[s] * v[r]) / det;
        }
        for (int i = 0; i < lines; ++i)
          for (int j = i + 1; j < lines; ++j)
            for (int k = j + 1; k < lines; ++k) {
              const double q[3] = {sieve.q[i], sieve.q[j], sieve.q[k]};
              const double a = inverse[0][0] * q[0] + inverse[0][1] * q[1] + inverse[0][2] * q[2];
              const double b = inverse[1][0] * q[0] + inverse[1][1] * q[1] + inverse[1][2] * q[2];
              const double c = inverse[2][0] * q[0] + inverse[2][1] * q[1] + inverse[2][2] * q[2];
              if (!(a <= b) || (all_alike && !(b <= c))) continue;
              if (!edge_allowed(a) || !edge_allowed(b) || !edge_allowed(c)) continue;
              const double g[6] = {a, b, c, 0, 0, 0};
              sieve.test(row, g, best);
            }
      }
}

}  // namespace crystalnet
