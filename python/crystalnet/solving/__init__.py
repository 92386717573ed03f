"""From a pattern to answers: `solve.solve_pattern` is the way, a line a stage."""
