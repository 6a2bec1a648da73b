"""Huge pages for large arrays: without them a fifth of a training step on a CPU is spent on page faults.

XLA allocates and frees gigabytes of scratch space at every step. With pages of 4 KB that takes 108,000 page faults per step for
net A at 112 pixels; with transparent huge pages, 4,400. glibc uses them if configured when a process starts.
Imports no TensorFlow.
"""

import os
import sys

ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment variables that a process needs at its start."""


def restart_with_huge_pages() -> None:
    """Restarts the command in the same process with huge pages.

    For commands only: the process loses its state. Does nothing outside Linux, or if `GLIBC_TUNABLES` is set.
    """
    if sys.platform == "linux" and not ENVIRONMENT.keys() & os.environ.keys():
        os.environ |= ENVIRONMENT
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
