"""How fast the kernels and whole networks are, beside what one would use without them."""
