"""How a command begins and ends: exit codes, signals, its output, and TensorFlow imported quietly. Imports no TensorFlow."""

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

    A user's mistake is one line on the error stream and exit code 2, as is an output that takes no more, once all else is done;
    a traceback means a bug.

    Args:
        command: the function.
        at_once: whether the process ends without Python's taking itself apart first, in the midst of which native threads of a
            server's libraries may end it by SIGABRT.
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
    except BrokenPipeError:  # whoever reads our output, such as `head`, has enough of it
        streams.turn_away(sys.stdout)
        code = 128 + signal.SIGPIPE
    except Exception:
        if not _Ended.last:
            raise
        code = 128 + _Ended.number  # TensorFlow makes an error of its own of what ends a function that it calls
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
    print(f"Could not write to the standard output ({sys.stdout.refused}); the work itself was done.", file=sys.stderr)
    return code or USER_ERROR


class _Ended(SystemExit):
    """Ends a command that got a signal: an exception, so that what was begun beside files and folders is removed.

    Attributes:
        last: refers to the one that is on its way; to nothing once it has arrived or was lost. `None` before there is one.
        number: the signal.
        is_over: whether the command has come to its end, so that there is nothing left to end.
    """

    last: weakref.ref | None = None
    number = signal.SIGTERM
    is_over = False

    def __init__(self):
        super().__init__(128 + _Ended.number)
        _Ended.last = weakref.ref(self)


def _unless_ended(told):
    if not isinstance(told.exc_value, _Ended):  # which is raised again until it is heard
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
    if not _Ended.is_over and _Ended.last and _Ended.last() is None:  # lost, as in what C code calls back or in a destructor
        raise _Ended


_OF_KERAS_ALONE = ("sklearn", "matplotlib")
_OBJECTS = 50_000  # new ones between two searches for garbage


@contextlib.contextmanager
def _missing(*names: str) -> Iterator[None]:
    """Lets imports find that libraries are not installed, but for those that were imported before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]  # `None` halts an import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Keeps Python from looking for garbage among what modules are made of, and lets it look more rarely from then on.

    Of the many objects that tracing makes few are garbage; looking for it took a tenth of the time to a first weight update.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(_OBJECTS)


def import_tensorflow(*, with_keras: bool = True) -> None:
    """Imports TensorFlow and Keras without the lines they write to file descriptor 2 meanwhile, whatever the log level.

    Commands compute in `channels_last`, whatever Keras' configuration file says. An error of the import is raised as ever. What
    Keras imports where it is there, for wrappers and galleries that no command asks for, is passed over: that saves a second.

    Args:
        with_keras: whether Keras is wanted too.

    Raises:
        BackendError: if Keras is wanted, and told to compute on something else than TensorFlow.
    """
    if with_keras:
        backend.require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # at 2 its own graph rewriter complains of itself; errors raise anyway
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            with _missing(*_OF_KERAS_ALONE), _without_collecting():
                import tensorflow

            tensorflow.config.list_physical_devices()  # looks for CUDA, and says much where there is none
            tensorflow.get_logger().setLevel("ERROR")
            if with_keras:
                import keras

                keras.config.set_image_data_format("channels_last")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
