"""Original and synthetic training rows valued on Adult, MNIST and Omniglot (Zheng et al., section 6.1)."""
