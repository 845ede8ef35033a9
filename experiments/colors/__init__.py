"""Colours: the synthetic columns of Table 2 of Kim et al., beside the exact optimum, and what learning adds to them."""
