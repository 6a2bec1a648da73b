"""The processor cores that this process may use."""

import os

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Fewer than the machine has under Slurm and in containers; only Linux knows them."""
