"""Entry and exit of commands: exit codes, signals, output, and a quiet import of TensorFlow. Imports no TensorFlow itself."""

import contextlib
import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterator

from keras_vgg.errors import InputError
from keras_vgg.support import backend, extras, streams
from keras_vgg.support.cli import USER_ERROR

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 0.2  # seconds


def run(command: Callable[[list[str]], int | None], *, at_once: bool = False) -> None:
    """Runs a command's main function on the arguments and ends the process.

    A user error prints one line to standard error and exits with code 2, as does an output that could not be written, once all
    work is done; a traceback means a bug.

    Args:
        command: the main function.
        at_once: whether to skip Python's shutdown, during which native threads of a server's libraries may raise SIGABRT.
    """
    streams.prepare()
    sys.unraisablehook = _unless_ended
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup ignores SIGHUP
            signal.signal(number, _end)
    try:
        code: str | int | None = command(sys.argv[1:])
        sys.stdout.flush()
    except SystemExit as ended:  # of argparse, or by a signal
        code = ended.code
    except InputError as error:
        code = _told(error)
    except ModuleNotFoundError as error:
        if (missing := extras.told(error)) is None:
            raise
        code = _told(missing)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        streams.turn_away(sys.stdout)
        code = 128 + signal.SIGPIPE
    except Exception:
        if not _Ended.last:
            raise
        code = 128 + _Ended.number  # TensorFlow converts exceptions from its callbacks to its own errors
    finally:
        _Ended.is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
    code = _code_with_output(code)
    if at_once and not isinstance(code, str):  # which `sys.exit` would print
        sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)


def _told(error: InputError) -> int:
    print(" ".join(str(error).split()), file=sys.stderr, flush=True)
    return USER_ERROR


def _code_with_output(code):
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    if not (isinstance(sys.stdout, streams.Output) and sys.stdout.refused):
        return code
    print(f"Could not write to standard output ({sys.stdout.refused}); the command itself completed.", file=sys.stderr)
    return code or USER_ERROR


class _Ended(SystemExit):
    """Ends a command that received a signal: an exception, so that temporary files and folders are removed.

    Attributes:
        last: weak reference to the exception being raised; dead once it was caught or lost. `None` before the first signal.
        number: the signal.
        is_over: whether the command has finished, so that there is nothing left to end.
    """

    last: weakref.ref | None = None
    number = signal.SIGTERM
    is_over = False

    def __init__(self):
        super().__init__(128 + _Ended.number)
        _Ended.last = weakref.ref(self)


def _unless_ended(told):
    if not isinstance(told.exc_value, _Ended):  # it is raised again until it takes effect
        sys.__unraisablehook__(told)


def _end(number, frame):
    if _Ended.is_over:
        return
    _Ended.number = number
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    signal.signal(signal.SIGALRM, _end_again)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
    raise _Ended


def _end_again(number, frame):
    if not _Ended.is_over and _Ended.last and _Ended.last() is None:  # lost, as in a callback from C code or a destructor
        raise _Ended


_OF_KERAS_ALONE = ("sklearn", "matplotlib")
_OBJECTS = 50_000  # new objects between two garbage collections


@contextlib.contextmanager
def _missing(*names: str) -> Iterator[None]:
    """Makes libraries appear not to be installed, unless they were imported before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]  # `None` halts an import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Suspends garbage collection during imports, excludes their objects from it, and makes it rarer afterwards.

    Few of the many objects created by tracing are garbage; collection took a tenth of the time to the first weight update.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(_OBJECTS)


def import_tensorflow(*, with_keras: bool = True) -> None:
    """Imports TensorFlow and Keras, discarding what they write to file descriptor 2 at any log level.

    Commands compute in `channels_last`, regardless of Keras' configuration file, and float32 without TF32. Import errors are
    raised as usual. Optional imports of Keras, for wrappers and galleries that no command needs, are skipped, which saves a second.

    Args:
        with_keras: whether to import Keras too.

    Raises:
        BackendError: if Keras is to be imported and is configured for another backend than TensorFlow.
    """
    if with_keras:
        backend.require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # at 2 its graph rewriter warns about itself; errors raise anyway
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            with _missing(*_OF_KERAS_ALONE), _without_collecting():
                import tensorflow

            # So that float32 is float32 on GPUs of compute capability 8.0, too.
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
            tensorflow.config.list_physical_devices()  # looks for CUDA, and logs much where there is none
            tensorflow.get_logger().setLevel("ERROR")
            if with_keras:
                import keras

                keras.config.set_image_data_format("channels_last")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
