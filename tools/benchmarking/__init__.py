"""The modules of `tools/benchmark.py`: the contest, and the contestants of each framework."""
