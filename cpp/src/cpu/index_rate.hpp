#pragma once

#include "index_prepared.hpp"

namespace crystalnet {

// Least squares of the metric, zero and displacement on the first n lines, the shifts softly held at 0 by their
// expected spread; false where the cell does not survive. `slack`: by which the zero may be wrong, degrees.
bool refine(const Prepared& lines, int n, double slack, int rounds, IndexedCell& cell);

// Writes score, merit, found and possible of the cell as it is.
void rate(const Prepared& lines, IndexedCell& cell);

}  // namespace crystalnet
