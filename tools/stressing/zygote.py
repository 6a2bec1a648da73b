"""Commands in forked children of a process that has imported everything, so that a trial does not wait for TensorFlow.

The parent makes no eager context and no thread of TensorFlow's, which a fork would not take along.
"""

import dataclasses
import importlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

from keras_vgg.support import entry

_MODULES = (
    "fit", "evaluate", "extract", "transfer_eval", "export", "convert", "style", "predict", "saved_model",
    "training.run", "training.trainer", "evaluation.run", "evaluation.prediction", "evaluation.report",
    "evaluation.heatmap", "descriptors.extraction", "features.style_transfer", "descriptors.descriptor_file", "linear.run",
    "weights.conversion", "weights.download", "weights.saving", "weights.loading", "data.pipeline",
)  # fmt: skip
_POLL = 0.02  # seconds
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GRPC_ENABLE_FORK_SUPPORT": "0", "MPLBACKEND": "agg"}
"""To be set before anything is imported: no library may have threads when the process forks."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: exit code, negative the signal that ended it; `None` if it hung and was killed for that.
        output: what it wrote to standard output.
        errors: what it wrote to standard error.
        seconds: how long it took.
        killed: whether it was still running at the time it was to be killed.
    """

    code: int | None
    output: str
    errors: str
    seconds: float
    killed: bool = False


def load() -> None:
    """Imports what commands import."""
    entry.import_tensorflow()
    for name in _MODULES:
        importlib.import_module(f"keras_vgg.{name}")
    for name in ("matplotlib.pyplot", "sklearn.svm", "tensorflow_serving.apis.prediction_log_pb2"):
        importlib.import_module(name)


def run(
    main: Callable[[list[str]], int | None],
    argv: list[str],
    work: pathlib.Path,
    *,
    prepare: Callable[[], None] = lambda: None,
    timeout: float = 30.0,
    kill_after: float | None = None,
) -> Ended:
    """Runs a command's main function in a child, as `entry.run` does, in the folder `work`.

    Args:
        main: the function.
        argv: its arguments.
        work: the child's folder; what it says is kept beside it meanwhile.
        prepare: called in the child first.
        timeout: seconds after which it is said to hang.
        kill_after: seconds after which it gets SIGKILL.
    """
    said = [work.with_name(f"{work.name}.{name}") for name in ("stdout", "stderr")]
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(main, argv, work, said, prepare)
    limit = timeout if kill_after is None else kill_after
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() - began < limit:
        time.sleep(min(_POLL, max(0.001, limit - (time.monotonic() - began))))
    late = ended[0] == 0
    if late:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    output, errors = (path.read_text(errors="replace") if path.exists() else "" for path in said)
    for path in said:
        path.unlink(missing_ok=True)
    code = None if late and kill_after is None else os.waitstatus_to_exitcode(ended[1])
    return Ended(code, output, errors, seconds, killed=late and kill_after is not None)


def _become(main, argv, work, said, prepare) -> None:
    """The child's whole life."""
    try:
        for number, path in enumerate(said, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout = open(1, "w", buffering=1, closefd=False)
        sys.stderr = open(2, "w", buffering=1, closefd=False)
        os.chdir(work)
        sys.argv = [getattr(main, "__module__", "command"), *argv]
        prepare()
        entry.run(main)
    except SystemExit as end:
        _flush_and_end(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:
        import traceback

        traceback.print_exc()
        _flush_and_end(1)


def _flush_and_end(code: int) -> None:
    # As at the end of any process: what Python would still do then may fail, too.
    import atexit
    import gc

    gc.collect()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
