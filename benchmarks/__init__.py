"""Races against other packages, each in its own environment: `python -m benchmarks.NAME --help`.

A benchmark (`social_choice`) makes the inputs, names the sides and compares the answers. `harness` keeps one process
for every side's package, alive and answering JSON lines, and lets them run in turn, never two at a time; `environments`
makes the virtual environments of the peers when they are first wanted; `worker` is what runs inside them, with one
small file a peer in `workers`; `report` prints the table and writes `results.json`.
"""
