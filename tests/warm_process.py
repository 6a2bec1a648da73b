"""Processes that find TensorFlow imported, which takes five seconds: forked from one that did nothing else."""

import multiprocessing.forkserver
import os
import pathlib
import runpy
import sys
import time

_IMPORTED = (
    "keras_vgg.saved_model", "keras_vgg.training.run", "keras_vgg.training.trainer", "matplotlib.pyplot",
    "tensorflow_serving.apis.prediction_service_pb2_grpc",
)  # fmt: skip
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GRPC_ENABLE_FORK_SUPPORT": "0"}
"""To be set before anything is imported: no library may have threads when the process forks."""


class WarmProcess:
    """What `python -m module *arguments` is, but for the time that it takes to begin.

    Args:
        module: what is run.
        arguments: as on the command line.
        output: the file to which its standard output is written.
        errors: the file for its error stream, by default the same.
        environment: variables that it finds beside those of this process.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        output: pathlib.Path,
        *,
        errors: pathlib.Path | None = None,
        environment: dict[str, str] | None = None,
    ):
        self._output, streams = output, (output, errors or output)
        for path in streams:
            path.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_IMPORTED))
        before = dict(os.environ)
        os.environ.update(_NO_THREADS)
        try:
            multiprocessing.forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
        arguments = (module, list(arguments), [str(path) for path in streams], before | (environment or {}))
        self._process = context.Process(target=_become, args=arguments, daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """Returns the exit code, negative the signal that ended it; `None` while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Returns the exit code once it has ended, in so many seconds at the most."""
        self._process.join(seconds)
        if self.poll() is None:
            self.kill()
            raise TimeoutError(f"not ended after {seconds} s: {self.output()}")
        return self.poll()

    def wait_for(self, line: str, seconds: float) -> None:
        """Waits until it has written a line."""
        deadline = time.monotonic() + seconds
        while line not in self.output().splitlines():
            if self.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"it did not write {line!r}: {self.output()}")
            time.sleep(0.01)

    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_text(errors="replace")

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a machine that fails."""
        self._process.kill()
        self._process.join()


def _become(module, arguments, streams, environment):
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
