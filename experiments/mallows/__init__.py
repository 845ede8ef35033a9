"""MallowsPO (Chen et al.) where the dispersion of every prompt is known, and where people disagreed."""
