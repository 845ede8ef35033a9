"""What the build of the site makes by itself: the reference, the pages of the ledger and of the figures."""
