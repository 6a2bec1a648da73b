"""Whether XLA makes convolutions faster on this machine."""

import pathlib

import tensorflow as tf

CPU_FACTS = pathlib.Path("/proc/cpuinfo")


def convolutions_prefer_xla() -> bool:
    """Whether large convolutional nets train faster with XLA here: on GPUs, and on CPUs without AVX-512.

    Without XLA, TensorFlow on a CPU calls oneDNN, whose convolutions make full use of AVX-512; XLA's do not. Without AVX-512,
    XLA is as fast (measurements and commands in `BUILD.md`).
    """
    return bool(tf.config.list_physical_devices("GPU")) or not _has_avx512()


def _has_avx512() -> bool:
    # Only Linux was measured.
    return CPU_FACTS.exists() and "avx512f" in CPU_FACTS.read_text().split()
