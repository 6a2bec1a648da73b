"""Both ways to a model at once, as TensorFlow Serving has them, and the end of them in order."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from keras_vgg.local_serving.grpc_services import make_server
from keras_vgg.local_serving.ports import refused
from keras_vgg.local_serving.rest import RestServer
from keras_vgg.local_serving.versions import Versions

MAX_BYTES = 2**31 - 1
"""Size of the largest request: a message of gRPC's holds no more."""

_PATIENCE = 10.0  # seconds that requests under way have to be answered when it ends


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where a model can be asked, as `--url` of `keras_vgg.client` takes it; `None` for a way that is not open.

    Attributes:
        grpc: such as `127.0.0.1:8500`.
        rest: such as `http://127.0.0.1:8501`.
    """

    grpc: str | None
    rest: str | None


@contextlib.contextmanager
def serving(
    versions: Versions,
    *,
    host: str = "127.0.0.1",
    port: int | None = 8500,
    rest_port: int | None = 8501,
    poll_seconds: float | None = 1.0,
    max_bytes: int = MAX_BYTES,
    patience: float = _PATIENCE,
) -> Iterator[Addresses]:
    """Answers in threads of this process, until the block ends; requests under way are then still answered.

    Args:
        versions: the model.
        host: address at which to listen; whoever reaches it may ask.
        port: for gRPC; 0 lets the system choose, `None` opens none.
        rest_port: for REST, likewise.
        poll_seconds: how often to look for new versions; `None` for never.
        max_bytes: size of the largest request.
        patience: seconds that requests under way have at the end.

    Raises:
        InputError: if a port or the host cannot be had.

    Example:
        `with serving(Versions("models/vgg", "vgg")) as addresses: print(addresses.rest)`
    """
    with contextlib.ExitStack() as ending:
        ending.enter_context(_polling(versions, poll_seconds))
        rest = None if rest_port is None else _start_rest(versions, host, rest_port, max_bytes, patience, ending)
        grpc = None if port is None else _start_grpc(versions, host, port, max_bytes, patience, ending)
        yield Addresses(grpc, rest)


def _start_rest(versions, host, port, max_bytes, patience, ending: contextlib.ExitStack) -> str:
    try:
        server = RestServer((host, port), versions, max_bytes=max_bytes)
    except (OSError, UnicodeError) as error:
        raise refused(host, port, "--rest-port", error) from error
    ending.callback(server.close, patience)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return f"http://{_bracketed(host)}:{server.server_port}"


def _start_grpc(versions, host, port, max_bytes, patience, ending: contextlib.ExitStack) -> str:
    server = make_server(versions, max_bytes=max_bytes)
    try:
        port = server.add_insecure_port(f"{_bracketed(host)}:{port}")
    except RuntimeError as error:
        raise refused(host, port, "--port", "it is taken, or not allowed") from error
    ending.callback(lambda: server.stop(patience).wait(2 * patience + 1))
    server.start()
    return f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _polling(versions: Versions, seconds: float | None) -> Iterator[None]:
    over = threading.Event()

    def look():
        while not over.wait(seconds):
            versions.poll()

    looking = threading.Thread(target=look, daemon=True)
    if seconds is not None:
        looking.start()
    try:
        yield
    finally:
        over.set()
        if seconds is not None:
            looking.join(_PATIENCE)  # it may be loading a version
