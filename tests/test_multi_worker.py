"""Two processes that train together give the run of one."""

import contextlib
import json
import os
import re
import shutil
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


def free_ports(number):
    with contextlib.ExitStack() as every:
        found = [every.enter_context(socket.socket()) for _ in range(number)]
        for free in found:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in found]


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


def start_workers(folder, surroundings, *arguments, each=((), ())):
    """Starts a worker for each of `each`, the arguments that only this worker is given."""
    ports = free_ports(len(each))
    return [
        WarmProcess(
            "keras_vgg.fit",
            [*ARGUMENTS, "--workdir", str(folder), *arguments, *own],
            folder.with_name(f"{surroundings.__name__}-{index}.txt"),
            environment=ENVIRONMENT | surroundings(index, ports),  # with huge pages: else it would begin again, from scratch
        )
        for index, own in enumerate(each)
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

    for process in start_workers(together, slurm, each=((), ("--workdir", str(tmp_path / "elsewhere")))):
        assert process.wait(60) == 2, process.output()
        told = r"Worker 2 \(.*\) differs from worker 1 in position in the run: a new run, not epoch 1, step \d+ \(checkpoint .*\)\."
        assert re.match(told, process.output().splitlines()[-1])

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


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Copies of a dataset, by what has become of them."""
    root = tmp_path_factory.mktemp("copies")
    for number, name in enumerate(["cats/a.png", "cats/b.png", "cats/c.png", "cats/d.png", "dogs/a.png", "dogs/b.png"]):
        path = root / "original" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(path, np.full((40, 40, 3), 40 * number, np.uint8), scale=False)
    found = {name: root / name for name in ("original", "same", "incomplete", "swapped", "painted", "renamed")}
    for path in [*found.values()][1:]:
        shutil.copytree(root / "original", path)
    for name in ("c", "d"):
        (found["incomplete"] / f"cats/{name}.png").unlink()
    first, second = (found["swapped"] / name for name in ("cats/a.png", "dogs/a.png"))
    before = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(before)
    keras.utils.save_img(found["painted"] / "dogs/b.png", np.full((40, 40, 3), 7, np.uint8), scale=False)
    (found["renamed"] / "dogs").rename(found["renamed"] / "hounds")
    return {name: ("--dataset", f"folder:{path}") for name, path in found.items()}


def in_one_line(processes):
    """The last line of all workers, which ended with exit code 2, and before the first update."""
    codes, outputs = [process.wait(60) for process in processes], [process.output() for process in processes]
    assert set(codes) == {2}, outputs
    assert not any("loss" in output or "Traceback" in output for output in outputs)
    return [output.splitlines()[-1] for output in outputs]


def test_workers_with_other_settings_end_together(tmp_path):
    processes = start_workers(tmp_path / "run", tf_config, each=((), ("--seed", "6"), ("--learning-rate", "0.1", "--epochs", "4")))
    lines = in_one_line(processes)
    assert len({*lines}) == 1
    told = (
        r"Worker 2 \(127.0.0.1:\d+\) differs from worker 1 in seed: 6, not 5; worker 3 \(127.0.0.1:\d+\) differs from worker 1 in "
    )
    told += r"epochs: 4, not 3, learning_rate: 0.1, not 0.002. Start all workers with the same command and the same data\."
    assert re.fullmatch(told, lines[0])
    assert not (tmp_path / "run").exists()  # nothing is left behind


def test_workers_with_other_images_end_together(tmp_path, copies):
    images = r"\d \(names \w+, contents \w+\)"
    missing, swapped = (copies[name] for name in ("incomplete", "swapped"))
    lines = in_one_line(start_workers(tmp_path / "run", tf_config, each=(copies["original"], missing, copies["same"], swapped)))
    assert len({*lines}) == 1
    assert re.match(rf"Worker 2 \(.*\) differs from worker 1 in training images: {images}, not {images}", lines[0])
    assert re.search(rf"; worker 4 \(.*\) differs from worker 1 in training images: {images}, not {images}", lines[0])
    assert "worker 3" not in lines[0]  # the same images in another folder


def test_workers_with_other_classes_or_contents_end_together(tmp_path, copies):
    each = (copies["painted"], copies["original"], copies["original"], copies["renamed"])
    lines = in_one_line(start_workers(tmp_path / "run", tf_config, each=each))
    assert len({*lines}) == 1
    assert re.match(r"Worker 1 \(.*\) differs from worker 2 in (training|validation) images: ", lines[0])
    assert re.search(r"; worker 4 \(.*\) differs from worker 2 in classes: 2 \(\w+\), not 2 \(\w+\), ", lines[0])


def test_a_worker_that_cannot_start_is_named_by_the_others(tmp_path, copies):
    each = (copies["original"], ("--dataset", f"folder:{tmp_path}/nowhere"))
    lines = in_one_line(start_workers(tmp_path / "run", tf_config, each=each))
    mistake = f"`folder:` must name a folder of class folders. Received: {tmp_path}/nowhere, which is not a folder."
    assert lines[1] == mistake
    assert re.fullmatch(rf"Worker 2 \(.*\) cannot start: {re.escape(mistake)}", lines[0])


@pytest.mark.slow
def test_the_others_end_when_a_worker_is_killed(tmp_path, copies):
    """It waits for the others at a pipe, in whose place no image can be read."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    processes = start_workers(tmp_path / "run", tf_config, each=(copies["original"], ("--dataset", f"csv:{pipe}")))
    with open(pipe, "w"):  # until it is read
        processes[1].kill()
    assert processes[0].wait(60) == 2, processes[0].output()
    assert "Lost contact with another worker before training began" in processes[0].output().splitlines()[-1]
