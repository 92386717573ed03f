"""Scores of known crystals: what is asked, what is answered, how answers are scored, the paper's tables and figures."""
