"""X-ray powder patterns: reading, peaks, indexing, simulation, refinement.

`reader` makes a `Pattern` of a file: `formats` and `text_table` parse it, `header` and `radiation` say with which
X-rays it was measured, and `scans` chooses among several scans. `peaks` finds the lines, `indexing` their cells.
`profile` simulates a pattern, `residual` and `rietveld` compare a crystal with a measured one. `vector` is what the
network sees: `pattern_vector(structure)` of a known crystal, `observed_vector(peaks)` of a measured pattern.
"""

from crystalnet.xrd.vector import observed_vector, pattern_vector

__all__ = ["observed_vector", "pattern_vector"]
