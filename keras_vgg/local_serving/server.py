"""Serves a model over gRPC and REST at once, as TensorFlow Serving does, and shuts down in order."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from keras_vgg.local_serving.grpc_services import make_server
from keras_vgg.local_serving.ports import refused
from keras_vgg.local_serving.rest import RestServer
from keras_vgg.local_serving.versions import Versions

MAX_BYTES = 2**31 - 1
"""Size of the largest request: the limit of a gRPC message."""

_PATIENCE = 10.0  # seconds for requests in progress at shutdown


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Addresses of a served model, in the form that `--url` of `keras_vgg.client` takes; `None` if disabled.

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
    """Serves from threads of this process until the block ends; requests then in progress are still answered.

    Args:
        versions: the model.
        host: address to listen on; anyone who can reach it can send requests.
        port: for gRPC; 0 lets the system choose, `None` disables gRPC.
        rest_port: for REST, likewise.
        poll_seconds: interval between checks for new versions; `None` disables them.
        max_bytes: size of the largest request.
        patience: seconds for requests in progress at the end.

    Raises:
        InputError: if a port or the host is not available.

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
        raise refused(host, port, "--port", "it is in use or not permitted") from error
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
