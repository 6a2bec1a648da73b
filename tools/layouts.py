"""Measures how far trained weights depend on the layout of a batch, by precision.

`python tools/layouts.py`: one narrow net is trained on the embedded digits in different layouts (replicas on logical CPU devices,
micro-batches). For each, the table has the number of skipped updates, and the largest relative difference of a layer's kernel from
that of the first layout, the batch as a whole. The last row of a precision is the first layout again, with a learning rate that
differs in the last bit: what becomes of a difference as small as float32's rounding.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # measures this checkout, whatever is installed

import numpy as np
import pandas as pd
from benchmarking import machine

from keras_vgg.errors import InputError
from keras_vgg.precision import PRECISIONS
from keras_vgg.recipe import Recipe
from keras_vgg.support import cli, entry

BATCH = 32
_MOST = 1437 // BATCH  # updates of an epoch of the digits


def main(argv: list[str]) -> None:
    """Parses `argv`, measures and prints the results."""
    parser = cli.Parser(prog="python tools/layouts.py", description=__doc__.split("\n")[0])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="precisions (default: all)")
    parser.add_argument("--updates", type=int, default=20, help="weight updates of each training (default: %(default)s)")
    parser.add_argument(
        "--micro-batches",
        nargs="+",
        type=int,
        default=[16, 8, 4],
        metavar="N",
        help=f"micro-batches of one replica, for batches of {BATCH} (default: %(default)s)",
    )
    parser.add_argument(
        "--replicas", nargs="+", type=int, default=[2, 3, 4], metavar="N", help="numbers of replicas (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.updates <= _MOST:
        raise InputError(f"`--updates` must be from 1 to {_MOST}, an epoch of the digits. Received: {arguments.updates}.")
    if min(*arguments.micro_batches, *arguments.replicas) < 1:
        raise InputError("`--micro-batches` and `--replicas` must be positive.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a GPU cannot be divided into replicas
    entry.import_tensorflow()
    _make_devices(max(arguments.replicas))
    layouts = [(1, micro_batch) for micro_batch in arguments.micro_batches]
    layouts += [(replicas, -(-BATCH // replicas)) for replicas in arguments.replicas]
    print(f"{machine.describe()}\nnet A, 32x32, batches of {BATCH}, {arguments.updates} updates", flush=True)
    print(_LINE.format(*Row._fields), flush=True)
    for precision in arguments.precisions:
        for row in compare(precision, layouts, arguments.updates):
            print(_LINE.format(*row._replace(kernels=f"{row.kernels:.1e}")), flush=True)


class Row(NamedTuple):
    """A training.

    Attributes:
        precision: its precision.
        replicas, micro_batch: its layout.
        skipped: number of skipped updates.
        kernels: largest relative difference of a kernel from that of the first layout.
        changed: what differs besides the layout.
    """

    precision: str
    replicas: int
    micro_batch: int
    skipped: int
    kernels: Any
    changed: str = ""


_LINE = "{:14} {:>8} {:>11} {:>7} {:>7} {}"


def compare(precision: str, layouts: list[tuple[int, int]], updates: int) -> Iterator[Row]:
    """Yields the rows of the table for a precision.

    Args:
        precision: one of `PRECISIONS`.
        layouts: pairs of replicas and images per micro-batch, to be compared with the whole batch on one replica.
        updates: number of weight updates.
    """
    recipe = Recipe(
        width=0.05,
        crop=32,
        jitter=(32, 48),
        batch_size=BATCH,
        limit_images=BATCH * updates,
        epochs=1,
        schedule="constant",
        precision=precision,
        seed=3,
    )
    whole, skipped = _train(recipe, 1, BATCH)
    yield Row(precision, 1, BATCH, skipped, 0.0)
    for layout in layouts:
        kernels, skipped = _train(recipe, *layout)
        yield Row(precision, *layout, skipped, _difference(kernels, whole))
    next_rate = float(np.nextafter(np.float32(recipe.learning_rate), np.float32(1)))
    kernels, skipped = _train(dataclasses.replace(recipe, learning_rate=next_rate), 1, BATCH)
    yield Row(precision, 1, BATCH, skipped, _difference(kernels, whole), "last bit of the learning rate")


def _difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.linalg.norm(one - other) / np.linalg.norm(other)) for one, other in pairs)


def _train(recipe: Recipe, replicas: int, micro_batch: int) -> tuple[list[np.ndarray], int]:
    """Returns the kernels, and the number of skipped updates."""
    from keras_vgg import training

    strategy = "mirrored" if replicas > 1 else "one-device"
    wanted = dataclasses.replace(recipe, replicas=replicas, micro_batch=micro_batch, strategy=strategy, jit=False)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            history = training.fit(wanted, workdir=pathlib.Path(folder, "run"))
        skipped = pd.read_csv(pathlib.Path(folder, "run", "log.csv")).skipped_updates.sum()
    return [weight for weight in history.model.get_weights() if weight.ndim > 1], int(skipped)


def _make_devices(number: int) -> None:
    """Makes logical CPU devices for the largest layout; they cannot be changed once one was used."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)


if __name__ == "__main__":
    entry.run(main)
