"""`python -m jaxval.cli` is the command `jaxval`."""

import sys

from jaxval.cli import main

if __name__ == "__main__":
    sys.exit(main())
