"""Whether a scheduler started this process as one of several workers. Imports no TensorFlow."""

import json
import os


def scheduler() -> str | None:
    """Returns the source of information about other workers: `TF_CONFIG`, `SLURM` or `None`."""
    if "TF_CONFIG" in os.environ:
        return "TF_CONFIG"
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "SLURM"
    return None


def many_workers() -> bool:
    """Whether there are other workers; a malformed `TF_CONFIG` is reported by `cluster`."""
    if scheduler() != "TF_CONFIG":
        return scheduler() is not None
    try:
        cluster = json.loads(os.environ["TF_CONFIG"]).get("cluster", {})
        return sum(len(cluster.get(job, [])) for job in ("chief", "worker")) > 1
    except (ValueError, AttributeError, TypeError):
        return False
