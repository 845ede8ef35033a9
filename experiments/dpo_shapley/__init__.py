"""The first paper's claims in numbers: coalition policies by arithmetic against policies that were trained anew."""
