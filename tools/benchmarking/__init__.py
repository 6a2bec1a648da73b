"""The parts of `tools/benchmark.py`: the contest, and the contestants of each framework."""
