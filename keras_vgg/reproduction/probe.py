"""Measures this machine's speed: trains each net of a study for a few updates, as `keras_vgg.fit` does."""

import contextlib
import io
import pathlib
import platform
import statistics
import tempfile
import time
from typing import IO

import keras
import tensorflow as tf

from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.recipe import resolve
from keras_vgg.reproduction.plan import told_of
from keras_vgg.reproduction.study import Study, Training
from keras_vgg.reproduction.work_folder import WorkFolder, write_json
from keras_vgg.support import xla
from keras_vgg.support.cores import CORES
from keras_vgg.support.progress import speed
from keras_vgg.training.fitting import fit

_UPDATES, _WARM_UP = 6, 2
_EMBEDDED = "digits"  # enlarged to the study's crops; the cost of reading ImageNet's photographs is reported separately


class _Clock(keras.callbacks.Callback):
    """Records the seconds from the beginning of a run, without imports, to the end of each update."""

    def __init__(self):
        super().__init__()
        self._began = time.perf_counter()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter() - self._began)


def probe(study: Study, work: WorkFolder, *, stream: IO[str] | None = None) -> dict:
    """Returns how fast each net of a study trains here, and writes it to `probe.json`.

    Args:
        study: the study.
        work: its work folder; its images are used once it is prepared, before that the embedded digits.
        stream: where to print a line for each net.

    Returns:
        `machine`, the digest of the code, `images` (the dataset), and by net `images_per_second`, `first_update` (seconds) and
        the settings they depend on, `nets`.
    """
    dataset = work.dataset_of(study) if work.prepared.exists() else _EMBEDDED
    found: dict = {"machine": machine(), "code sha256": digest_of_code(), "images": dataset, "images_per_second": {}}
    found |= {"first_update": {}, "nets": {}}
    for training in {each.recipe.net: each for each in study.trainings.values()}.values():
        net, (rate, first) = training.recipe.net, _time(training, dataset)
        found["nets"][net] = told_of(training.recipe)
        found["images_per_second"][net], found["first_update"][net] = rate, first
        if stream:
            print(f"net {net}: {speed(rate)} images/s, first update after {first:.1f}s", file=stream, flush=True)
    write_json(work.path / "probe.json", found)
    return found


def _time(training: Training, dataset: str) -> tuple[float, float]:
    batch = training.recipe.batch_size
    changed = {"dataset": dataset, "epochs": 1, "limit_images": _UPDATES * batch}
    changed |= {} if dataset == _EMBEDDED else {"random_flip": training.recipe.random_flip, "color": training.recipe.color}
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        fit(resolve(training.fields, changed), workdir=pathlib.Path(folder) / "run", callbacks=[clock])
    keras.backend.clear_session()
    between = [after - before for before, after in zip(clock.ends[_WARM_UP - 1 :], clock.ends[_WARM_UP:], strict=False)]
    return batch / statistics.median(between), clock.ends[0]


def machine() -> str:
    """Returns a description of this machine."""
    if gpus := tf.config.list_physical_devices("GPU"):
        names = [tf.config.experimental.get_device_details(each).get("device_name", "GPU") for each in gpus]
        return f"{len(names)} x {names[0]}"
    lines = xla.CPU_FACTS.read_text().splitlines() if xla.CPU_FACTS.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())}, {CORES} cores, {flags[0] if flags else 'no AVX2'}"
