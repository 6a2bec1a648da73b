"""Whether half precision is faster on this machine, and the advice that says so."""

import functools
import sys

import tensorflow as tf

from keras_vgg.precision import BFLOAT16, FLOAT16, FLOAT32
from keras_vgg.support import xla
from keras_vgg.support.cores import CORES

_ON_CPUS = {  # by CPU flag, the fastest first (BUILD.md, "Speed")
    "amx_bf16": "was four times as fast for net D on an Intel Xeon with AMX",
    "avx512_bf16": "was twice as fast for net D on an AMD EPYC",
}
_CAPABILITY = (8, 0)  # compute capability of NVIDIA GPUs, from Ampere on

LONG_ON_CPU, LONG_ON_GPU = 5e12, 3e15
"""Multiply-adds per core and per GPU from which work counts as long: a minute or more in float32."""


def bfloat16_in_hardware() -> bool:
    """Whether all GPUs, or the CPU if there is none, compute bfloat16 in hardware."""
    if gpus := tf.config.list_physical_devices("GPU"):
        details = map(tf.config.experimental.get_device_details, gpus)
        return all(each.get("compute_capability", (0, 0)) >= _CAPABILITY for each in details)
    return bool(_cpu_flags())


def _cpu_flags() -> list[str]:
    facts = xla.CPU_FACTS.read_text().split() if xla.CPU_FACTS.exists() else []
    return [flag for flag in _ON_CPUS if flag in facts]


def advise(precision: str, multiply_adds: float, *, or_else: str = "") -> None:
    """Prints a line to standard error if another precision would be faster, each line once per process.

    Args:
        precision: the current precision, one of `precision.PRECISIONS`.
        multiply_adds: multiply-accumulate operations of the work.
        or_else: another flag that is faster on the same GPUs.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    if precision == FLOAT32 and bfloat16_in_hardware() and multiply_adds >= _long(gpus):
        on_gpus = f"or {or_else} is usually faster" if or_else else "is usually faster"
        gain = on_gpus if gpus else f"{_ON_CPUS[_cpu_flags()[0]]} (BUILD.md)"
        _tell(f"this machine computes bfloat16 in hardware; --precision {BFLOAT16} {gain}")
    elif precision == FLOAT16 and not gpus:
        _tell(f"Warning: {FLOAT16} is slower than {FLOAT32} on CPUs; pass --precision {BFLOAT16} or {FLOAT32}")


def _long(gpus: int) -> float:
    return gpus * LONG_ON_GPU if gpus else CORES * LONG_ON_CPU


@functools.cache
def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
