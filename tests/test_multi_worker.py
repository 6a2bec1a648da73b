"""Two processes that train together give the run of one."""

import json
import signal
import socket
import time

import keras
import numpy as np
import pandas as pd
import pytest
from warm_process import WarmProcess

from keras_vgg import fit
from keras_vgg.support.huge_pages import ENVIRONMENT

ARGUMENTS = [
    *("--width", "0.02", "--crop", "32", "--jitter", "32", "40", "--random-flip", "--color", "--no-jit", "--seed", "5"),
    *("--batch-size", "20", "--learning-rate", "0.002", "--limit-images", "130", "--epochs", "3"),  # 21 updates
]  # fmt: skip


def free_ports():
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in (first, second)]


def tf_config(index, ports):
    """What Kubernetes' TFJob and Ray Train set."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})}


def slurm(index, ports):
    """What `srun --nodes=1 --ntasks=2` sets."""
    return {
        "SLURM_JOB_ID": str(ports[0]),  # the port follows from it
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }


def start_workers(folder, surroundings, *arguments):
    ports = free_ports()
    return [
        WarmProcess(
            "keras_vgg.fit",
            [*ARGUMENTS, "--workdir", str(folder), *arguments],
            folder.with_name(f"{surroundings.__name__}-{index}.txt"),
            environment=ENVIRONMENT | surroundings(index, ports),  # with huge pages: else it would begin again, from scratch
        )
        for index in range(2)
    ]


def finish(processes):
    codes = [process.wait(180) for process in processes]
    return codes, [process.output() for process in processes]


@pytest.mark.slow
def test_two_workers_give_the_run_of_one_even_when_stopped(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert fit.main([*ARGUMENTS, "--workdir", str(alone)]) is None

    # The second worker alone is asked to stop, as a scheduler may do: both must leave at the same step.
    processes = start_workers(together, slurm, "--checkpoint-minutes", "1e-9")
    deadline = time.monotonic() + 120
    while not (together / "state.zip").exists() and time.monotonic() < deadline and processes[0].poll() is None:
        time.sleep(0.01)
    assert (together / "state.zip").exists()
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = finish(processes)
    assert codes == [143, 143], outputs
    assert "stopped by another worker" in outputs[0]
    assert not (together / "summary.json").exists()

    codes, outputs = finish(start_workers(together, tf_config))
    assert codes == [0, 0], outputs
    assert "resuming" in outputs[0]
    assert "epoch" not in outputs[1]  # one voice

    # But for digests, which tell weights apart that differ by float rounding.
    logs = [pd.read_csv(folder / "log.csv").drop(columns="net sha256") for folder in (alone, together)]
    pd.testing.assert_frame_equal(*logs, rtol=1e-5)
    one, two = (keras.saving.load_model(folder / "last.keras").get_weights() for folder in (alone, together))
    for ours, theirs in zip(one, two, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
