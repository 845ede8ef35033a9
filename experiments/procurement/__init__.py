"""Buying data round by round for a model that rates products (Zheng et al., Figures 5 and 6)."""
