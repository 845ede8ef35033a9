"""The claims of Tamine et al. in numbers: coalition policies by arithmetic against policies that were retrained."""
