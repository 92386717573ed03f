"""X-ray powder patterns: reading, peaks, indexing, simulation, refinement.

`pattern_vector(structure)` is what the network sees of a known crystal.
"""

from crystalnet.xrd.vector import observed_vector, pattern_vector

__all__ = ["observed_vector", "pattern_vector"]
