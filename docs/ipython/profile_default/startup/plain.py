"""Run in every kernel that executes a guide: commands print no escape codes, which ipykernel asks them for."""

import os

os.environ |= {"TERM": "dumb", "NO_COLOR": "1"}
os.environ.pop("FORCE_COLOR", None)
