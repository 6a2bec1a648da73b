"""The REST routes of TensorFlow Serving: `/v1/models/NAME[/versions/N|/labels/L]`, `…/metadata` and `…:predict`."""

import contextlib
import http.server
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format

from keras_vgg.local_serving.grpc_services import metadata_of, not_answered
from keras_vgg.local_serving.json_tensors import Request, parsed, signature_of
from keras_vgg.local_serving.status import Code, StatusError, invalid
from keras_vgg.local_serving.versions import Versions
from keras_vgg.support import extras

with extras.needed("serve"):
    from tensorflow_serving.apis import model_pb2

_PATH = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?)?"
    r"(?P<what>/metadata|:predict|:classify|:regress|)"
)
_LARGEST = 2**63 - 1  # versions are int64
_PIECE = 2**20  # chunk size in bytes for discarding a body


class RestServer(http.server.ThreadingHTTPServer):
    """A REST server that handles each connection in its own thread.

    Args:
        address: host and port; 0 lets the system choose the port.
        versions: the model.
        max_bytes: size of the largest request; larger ones are refused with 413.

    Raises:
        OSError: if the address cannot be bound.
    """

    request_queue_size = 64

    def __init__(self, address: tuple[str, int], versions: Versions, *, max_bytes: int):
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        self.versions, self.max_bytes = versions, max_bytes
        self._under_way, self._changed, self.is_closing = 0, threading.Condition(), False
        super().__init__(address, _Handler)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Wraps the handling of a request, for which `close` waits."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def close(self, patience: float) -> None:
        """Ends `serve_forever`, and allows requests in progress `patience` seconds to be answered."""
        self.is_closing = True
        self.shutdown()
        self.socket.close()  # not `server_close`, which would wait for connections that clients keep open
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, patience)

    def handle_error(self, request, client_address) -> None:
        """Ignores clients that disconnect; bugs still print a traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # reuses connections
    timeout = 30
    server: RestServer

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True  # the end of its body is unknown
            self._send(411, _error(f"A request must have a Content-Length. Received: {length or 'none'}"))
            return
        size = int(length)
        if size > self.server.max_bytes:
            while size > 0 and (piece := self.rfile.read(min(size, _PIECE))):  # otherwise the client sees a reset, not the response
                size -= len(piece)
            self._send(413, _error(f"request of {length} bytes is larger than {self.server.max_bytes}"))
        else:
            body = self.rfile.read(size)
            self._answer(lambda path: self._post(path, body))

    def _answer(self, method: Callable[[re.Match], str]) -> None:
        with self.server.counted():
            try:
                if self.server.is_closing:
                    self.close_connection = True
                    raise StatusError(Code.UNAVAILABLE, "The server is shutting down")
                if not (path := _PATH.fullmatch(unquote(self.path.partition("?")[0]))):
                    raise self._malformed()
                if not path["name"]:
                    raise invalid("Missing model name in request")
                self._send(200, method(path))
            except StatusError as error:
                self._send(error.http_status, _error(error.message))

    def _malformed(self) -> StatusError:
        return invalid(f"Malformed request: {self.command} {self.path}")

    def _get(self, path: re.Match) -> str:
        versions = self.server.versions
        if not path["what"]:
            return json.dumps(_message(versions.status(_spec(path))))
        if path["what"] != "/metadata":
            raise self._malformed()
        spec, signatures = metadata_of(versions, _spec(path))
        return json.dumps({"model_spec": _message(spec), "metadata": {"signature_def": _message(signatures)}})

    def _post(self, path: re.Match, body: bytes) -> str:
        if not path["what"].startswith(":"):
            raise self._malformed()
        servable = self.server.versions.find(_spec(path))
        if (method := path["what"][1:]) != "predict":
            raise not_answered(servable, method, signature_of(parsed(body)))
        request = Request(parsed(body))
        if request.signature not in servable.definitions:
            raise invalid(f'Serving signature name: "{request.signature}" not found in signature def')
        inputs = request.inputs(servable.definitions[request.signature].inputs)
        return request.answer(servable.predict(request.signature, inputs))

    def _send(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Sends the errors of the standard library as JSON too, such as for unsupported methods."""
        self.close_connection = True
        self._send(code, _error(message or http.HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _spec(path: re.Match) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=path["name"])
    if path["version"]:
        if int(path["version"]) > _LARGEST:
            raise invalid(f"Failed to convert version: {path['version']} to numeric.")
        spec.version.value = int(path["version"])
    elif path["label"]:
        spec.version_label = path["label"]
    return spec


def _message(message: Any) -> dict:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _error(message: str) -> str:
    return json.dumps({"error": message})
