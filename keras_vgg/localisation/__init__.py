"""Localisation as in the paper's Appendix A: boxes, how near they are and what counts as found. NumPy alone."""
