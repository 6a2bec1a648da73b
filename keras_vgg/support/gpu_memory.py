"""The memory of GPUs, which TensorFlow does not report: from the driver's tool and from the names of GPUs."""

import re
import subprocess
from collections.abc import Sequence

_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,mig.mode.current", "--format=csv,noheader,nounits"]
_SECONDS = 60.0  # without its daemon the tool starts each GPU first
_SLICE = re.compile(r"\bMIG\b.*\d+g\.(\d+)gb")
_OF_NOMINAL = 0.9  # slices have up to 7% less than their names say
_UNKNOWN = 0


def smallest(names: Sequence[str]) -> int | None:
    """Returns the memory of the smallest of these GPUs in bytes; `None` if that of any is unknown.

    GPUs are found by name: unlike the tool, TensorFlow numbers only those of `CUDA_VISIBLE_DEVICES`, the fastest first. Of several
    GPUs of the same name, the smallest counts. A slice of a GPU (MIG) has its size in its name.

    Args:
        names: TensorFlow's names of the GPUs, such as `NVIDIA A100-SXM4-40GB` or `NVIDIA A100-SXM4-40GB MIG 3g.20gb`.
    """
    slices = {name: int(int(found[1]) * _OF_NOMINAL * 10**9) for name in names if (found := _SLICE.search(name))}
    rows = _rows() if len(slices) < len({*names}) else []
    sizes = [slices.get(name) or min((size for called, size in rows if called == name), default=_UNKNOWN) for name in names]
    return min(sizes, default=_UNKNOWN) or None


def _rows() -> list[tuple[str, int]]:
    """Returns the name and memory of each GPU of the machine; none if the tool fails."""
    try:
        answer = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(", ", 2) for line in answer.splitlines()]
    return [(row[0], _bytes(row[1], row[2])) for row in rows if len(row) == 3]


def _bytes(mebibytes: str, mig: str) -> int:
    # What the driver does not know is `[N/A]`. Of a GPU that is divided into slices, no process sees the whole.
    return int(mebibytes) * 2**20 if mebibytes.isdecimal() and mig != "Enabled" else _UNKNOWN
