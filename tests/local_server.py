"""The server of `keras_vgg.local_serving` with what tests want beside: answers that take longer, versions taken up when told to.

`python tests/local_server.py MODEL_BASE_PATH --grpc-port P --rest-port Q` is such a server as a process of its own.
"""

import argparse
import contextlib
import os
import pathlib
import random
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from warm_process import WarmProcess

from keras_vgg.local_serving import server
from keras_vgg.local_serving.servable import Servable
from keras_vgg.local_serving.versions import Versions
from keras_vgg.support.saved_model_folders import versions_in

START_SECONDS = 60


class LateServable(Servable):
    """Answers later, outside of the turns that it waits for."""

    delay = delay_per_image = 0.0

    def predict(self, signature, inputs, output_filter=()):
        images = next(iter(inputs.values()), ())
        time.sleep(self.delay + self.delay_per_image * len(images))
        return super().predict(signature, inputs, output_filter)


class ChosenVersions(Versions):
    """Serves the versions that it is told to, at first the newest alone; labels lead to the one that was told last."""

    def __init__(self, base_path, name, *, labels=(), delay=0.0, delay_per_image=0.0):
        self._chosen, self._delays = {max(versions_in(base_path))}, {"delay": delay, "delay_per_image": delay_per_image}
        super().__init__(base_path, name, labels=dict.fromkeys(labels, max(self._chosen)))

    def take_up(self, version, *, keep=False):
        """Loads a version; then lets the others go unless told to keep them."""
        self._chosen = (self._chosen if keep else set()) | {version}
        self.poll()
        assert set(self.numbers) == self._chosen
        self._labels = dict.fromkeys(self._labels, version)

    def _wanted(self, found):
        return self._chosen & set(found)

    def _open(self, version, path):
        if not any(self._delays.values()):
            return super()._open(version, path)
        servable = LateServable(path, version, turns=self._turns)
        vars(servable).update(self._delays)
        return servable


class Addresses:
    """Where it serves: `grpc` and `rest` are what `--url` of the client takes; `take_up(version)` changes what is served."""

    def __init__(self, grpc_port, rest_port, take_up=None):
        self.take_up = take_up
        self.grpc_port, self.rest_port = grpc_port, rest_port
        self.grpc, self.rest = f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}"


@contextlib.contextmanager
def serving(base_path, *, name="vgg", grpc_port=0, rest_port=0, labels=(), max_bytes=None, **delays) -> Iterator[Addresses]:
    """Serves in this process; ports are chosen where they are 0.

    Args:
        base_path: folder of numbered versions.
        name: the model's name.
        labels: version labels that lead to the newest version.
        max_bytes: size of the largest request.
        delay, delay_per_image: seconds that an answer takes longer, and for each image of the request.
    """
    versions = ChosenVersions(base_path, name, labels=labels, **delays)
    settings = {"port": grpc_port, "rest_port": rest_port, "poll_seconds": None, "max_bytes": max_bytes or server.MAX_BYTES}
    with server.serving(versions, **settings, patience=0) as found:
        yield Addresses(*(int(where.rpartition(":")[2]) for where in (found.grpc, found.rest)), versions.take_up)


class Process(Addresses):
    """A server as a process of its own, ready to answer."""

    def __init__(self, base_path, *, grpc_port=0, rest_port=0, delay=0.0):
        super().__init__(grpc_port or free_port(), rest_port or free_port())
        arguments = [str(base_path), "--delay", str(delay), "--grpc-port", str(self.grpc_port), "--rest-port", str(self.rest_port)]
        self._folder = tempfile.TemporaryDirectory()
        self.process = WarmProcess("local_server", arguments, pathlib.Path(self._folder.name, "output"))
        try:
            self.process.wait_for("ready", START_SECONDS)
        except RuntimeError:
            self._folder.cleanup()
            raise

    def kill(self):
        """SIGKILL, as a machine that fails."""
        self.process.kill()
        self._folder.cleanup()


@contextlib.contextmanager
def start(base_path, **settings) -> Iterator[Process]:
    """A server as a process of its own, which is killed afterwards."""
    process = Process(base_path, **settings)
    try:
        yield process
    finally:
        process.kill()


def free_port():
    """A port that is free now, below those from which the system chooses: a client that knocks at it does not meet itself."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base_path")
    parser.add_argument("--grpc-port", type=int, default=8500)
    parser.add_argument("--rest-port", type=int, default=8501)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that an answer takes longer")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with serving(given.base_path, grpc_port=given.grpc_port, rest_port=given.rest_port, delay=given.delay):
        print("ready", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
