"""Measures TFRecord files of TFDS: the index at a first and at a later start, and records read before decoding."""

import contextlib
import os
import pathlib
import struct
import tempfile
import threading
import time

import numpy as np
import pandas as pd

from benchmarking.apart import apart
from keras_vgg.support import entry

_SIZE = 110_000  # bytes of a record, as in ImageNet's
_PER_SHARD = 1251  # records, as in ImageNet's
_SHARDS_READ, _PER_SHARD_READ = 4, 500
_STEPS = 1000


def index_table(count: int) -> str:
    """Measures opening `count` records whose files are not in memory: with their index to build, then with it kept."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write_headers(folder, number, min(_PER_SHARD, count - first)) for number, first in _firsts(count)]
        rows = []
        for start in ("index built", "index kept"):
            for path in [*paths, *map(str, pathlib.Path(folder).glob(".keras_vgg-*"))]:
                _forget(path)
            rows.append({"start": start} | apart(_open, paths))
    return pd.DataFrame(rows).to_string(index=False)


def reading_table(rounds: int) -> str:
    """Measures reading of records in random order through tf.data, from memory: ours, and a call of Python for each record."""
    with tempfile.TemporaryDirectory() as folder:
        return apart(_read, [_write_records(folder, number) for number in range(_SHARDS_READ)], rounds)


def _firsts(count: int):
    return enumerate(range(0, count, _PER_SHARD))


def _write_headers(folder: str, number: int, count: int) -> str:
    """Writes a file with the headers of records and holes between them, which no index reads."""
    path = os.path.join(folder, f"sparse-{number:05}.tfrecord")
    with open(path, "wb") as file:
        for place in range(count):
            file.seek(place * (_SIZE + 16))
            file.write(struct.pack("<QI", _SIZE, 0))
        file.truncate(count * (_SIZE + 16))
    return path


def _forget(path: str) -> None:
    """Has the system write a file to the disk and drop it from memory."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _open(paths: list[str]) -> dict[str, object]:
    entry.import_tensorflow()
    from keras_vgg.data.tfds_records import TFRecords

    before, began = _bytes_read(), time.perf_counter()
    records = TFRecords(paths)
    seconds = time.perf_counter() - began
    return {"records": f"{len(records):,}", "seconds": f"{seconds:.2f}", "MB from disk": f"{(_bytes_read() - before) / 1e6:.1f}"}


def _bytes_read() -> int:
    told = dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())
    return int(told["read_bytes"])


def _write_records(folder: str, number: int) -> str:
    import tensorflow as tf

    path = os.path.join(folder, f"{number}.tfrecord")
    random = np.random.default_rng(number)
    with tf.io.TFRecordWriter(path) as writer:
        for _ in range(_PER_SHARD_READ):
            writer.write(random.bytes(_SIZE))
    return path


def _read(paths: list[str], rounds: int) -> str:
    entry.import_tensorflow()
    import tensorflow as tf

    from keras_vgg.data.tfds_records import TFRecords

    records = TFRecords(paths)
    ways = {
        "ours": records.record,
        "call of Python": lambda index: tf.numpy_function(records.read, [index], tf.string, stateful=False),
    }
    order = np.random.default_rng(0).integers(0, len(records), _STEPS)
    cores = os.cpu_count() or 1
    settings = [(threads, False) for threads in sorted({1, cores, 4 * cores})] + [(cores, True)]
    measured: dict[tuple, list[tuple[float, float]]] = {}
    for round_number in range(rounds + 1):  # the first one warms up
        for threads, beside_python in settings:
            for name, way in ways.items():
                sizes = tf.data.Dataset.from_tensor_slices(order).map(
                    lambda index, way=way: tf.strings.length(way(index)), num_parallel_calls=threads
                )
                with _python_at_work() if beside_python else contextlib.nullcontext():
                    began, busy = time.perf_counter(), time.process_time()
                    total = sum(int(part.sum()) for part in sizes.batch(100).as_numpy_iterator())
                    taken = (time.perf_counter() - began, time.process_time() - busy)
                if total != _SIZE * len(order):
                    raise RuntimeError(f"Expected records of {_SIZE} bytes. Received: {total / len(order)} on average.")
                if round_number:
                    measured.setdefault((name, threads, beside_python), []).append(taken)
    rows = [
        {
            "contestant": name,
            "threads": threads,
            "beside": "a thread of Python" if beside_python else "",
            "records/s": f"{len(order) / np.median([wall for wall, _ in taken]):.0f}",
            "at most": f"{len(order) / min(wall for wall, _ in taken):.0f}",
            "processor us each": "" if beside_python else f"{1e6 * np.median([busy for _, busy in taken]) / len(order):.0f}",
        }
        for (name, threads, beside_python), taken in measured.items()
    ]
    return pd.DataFrame(rows).to_string(index=False)


@contextlib.contextmanager
def _python_at_work():
    """Runs a thread that only computes in Python, as a training loop and its metrics do at times."""
    done = threading.Event()

    def work():
        while not done.is_set():
            sum(range(100))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
