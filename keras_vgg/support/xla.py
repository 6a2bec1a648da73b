"""Where XLA makes convolutions faster, and where the kernels without it are faster still."""

import pathlib

import tensorflow as tf

CPU_FACTS = pathlib.Path("/proc/cpuinfo")


def convolutions_prefer_xla() -> bool:
    """Whether large convolutional nets train faster with XLA here: on GPUs, and on CPUs without AVX-512.

    Without XLA, TensorFlow on a CPU calls oneDNN, whose convolutions use AVX-512 to the full; XLA's do not. Without AVX-512,
    XLA is as fast (figures and commands in `BUILD.md`).
    """
    return bool(tf.config.list_physical_devices("GPU")) or not _has_avx512()


def _has_avx512() -> bool:
    # Elsewhere than on Linux nothing was measured.
    return CPU_FACTS.exists() and "avx512f" in CPU_FACTS.read_text().split()
