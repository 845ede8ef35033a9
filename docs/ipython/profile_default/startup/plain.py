"""Run in every kernel that executes a guide: commands print no escape codes, and what they print is one piece."""

import os
import subprocess
import sys

from IPython import get_ipython

# ipykernel asks commands for colours, and passes on what they print in pieces, which pages would break into lines.
os.environ |= {"TERM": "dumb", "NO_COLOR": "1"}
os.environ.pop("FORCE_COLOR", None)


def bash(line: str, cell: str) -> None:
    """The cell magic `%%bash`; an exit status other than 0 is an error."""
    done = subprocess.run(["bash", "-c", cell], capture_output=True, text=True)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    done.check_returncode()


get_ipython().register_magic_function(bash, "cell")
