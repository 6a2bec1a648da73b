"""Large pages for large arrays: without them a fifth of a training step on a CPU goes into page faults.

XLA asks for gigabytes of scratch space at every step and gives them back. With pages of 4 KB the kernel hands them out one by one,
108,000 a step for net A at 112 pixels; with transparent huge pages, 4,400. glibc asks for them if told when a process starts.
Imports no TensorFlow.
"""

import os
import sys

ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""What a process must find in its environment when it starts."""


def restart_with_huge_pages() -> None:
    """Starts this process' command again, in the same process, with huge pages; does nothing where that is decided already.

    For commands only: whatever the process did before is gone. Elsewhere than on Linux, or with `GLIBC_TUNABLES` set, it returns.
    """
    if sys.platform == "linux" and not ENVIRONMENT.keys() & os.environ.keys():
        os.environ |= ENVIRONMENT
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
