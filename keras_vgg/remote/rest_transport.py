"""Queries TensorFlow Serving over REST. Does not import TensorFlow, so that commands that use it start at once."""

import base64
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote

from keras_vgg.remote.protocol import (
    MOST_BYTES,
    AwayError,
    Model,
    RefusedError,
    Rows,
    Signatures,
    SlowError,
    one_line,
    reading,
    width_of,
)
from keras_vgg.support import extras

with extras.needed("serve"):
    import requests

# TensorFlow Serving's INVALID_ARGUMENT, request too large, RESOURCE_EXHAUSTED, failed operation.
_DIVISIBLE = {400, 413, 429, 500}
# 499 is CANCELLED, for requests to a server that shuts down; a 429 without TensorFlow Serving's JSON comes from a proxy.
_AWAY = {429, 499, 502, 503}
_SLOW = {504}  # DEADLINE_EXCEEDED, or the timeout of a proxy
_MISSING = {404}
_AT_ONCE = 2**16  # bytes of a response
_SERVING = "TensorFlow Serving's"


class RestTransport:
    """A `Transport` over the RESTful API of TensorFlow Serving, in its column format.

    Args:
        url: `http://HOST:PORT` or `https://HOST:PORT`; may include a path that precedes the API's own.
        model: the model to query.
        timeout: seconds to wait for a connection, and for the response: a request ends after twice as long at most.
        concurrency: number of threads that share the transport.
    """

    def __init__(self, url: str, model: Model, *, timeout: float, concurrency: int):
        self._timeout = timeout
        self._model = f"{url.rstrip('/')}/v1/models/{quote(model.name, safe='')}"
        self._version = self._model
        if model.version is not None:
            self._version += f"/versions/{model.version}"
        elif model.label is not None:
            self._version += f"/labels/{quote(model.label, safe='')}"
        self._http = requests.Session()
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=concurrency))

    def states(self) -> dict[int, str]:
        """See `Transport`."""
        answer = self._ask("GET", self._model)
        with reading(_SERVING):
            return {int(each["version"]): one_line(each["state"]) for each in _member(answer, "model_version_status")}

    def signatures(self) -> Signatures:
        """See `Transport`."""
        answer = self._ask("GET", f"{self._version}/metadata")
        signatures = _member(answer, "metadata", "signature_def", "signature_def")
        with reading(_SERVING):
            outputs = {
                one_line(name): {one_line(output): _width(info) for output, info in each.get("outputs", {}).items()}
                for name, each in signatures.items()
                if name[:2] != "__"
            }
            return Signatures(int(_member(answer, "model_spec", "version")), outputs)

    def pin(self, version: int) -> None:
        """See `Transport`."""
        self._version = f"{self._model}/versions/{version}"

    def predict(self, signature: str, images: Sequence[bytes], outputs: Sequence[str]) -> dict[str, Rows]:
        """See `Transport`."""
        encoded = [{"b64": base64.b64encode(image).decode("ascii")} for image in images]
        body = json.dumps({"signature_name": signature, "inputs": {"images": encoded}})
        answer = _member(self._ask("POST", f"{self._version}:predict", body), "outputs")
        return {name: _member(answer, name) for name in outputs}

    def close(self) -> None:
        """Closes idle connections; a pending request runs into its timeout."""
        self._http.close()

    def _ask(self, method: str, url: str, body: str | None = None) -> Any:
        try:
            response, content = self._fetch(method, url, body)
        except requests.ConnectTimeout as error:
            raise AwayError(f"no connection within {self._timeout:g} s") from error
        except requests.Timeout as error:
            raise SlowError(f"no response within {self._timeout:g} s") from error
        except requests.exceptions.SSLError as error:
            raise RefusedError(_reason(error)) from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise AwayError(_reason(error)) from error
        except requests.RequestException as error:
            raise RefusedError(one_line(str(error))) from error
        if response.status_code != 200:
            reason = _told(content)
            told = one_line(f"{response.status_code} {response.reason}: {reason}".rstrip(": "))
            divisible = response.status_code in _DIVISIBLE
            if response.status_code in _SLOW:
                raise SlowError(told)
            if response.status_code in _AWAY and not (divisible and reason):
                raise AwayError(told)
            raise RefusedError(told, divisible=divisible, missing=response.status_code in _MISSING)
        try:
            return json.loads(content)  # accepts the bare NaN of TensorFlow Serving
        except ValueError as error:
            shown = content[:400].decode("utf-8", "replace")
            raise RefusedError(f"the response is not JSON: {one_line(shown, 80)!r}") from error
        except RecursionError as error:
            raise RefusedError(f"the response is not {_SERVING}: its JSON is too deep") from error

    def _fetch(self, method: str, url: str, body: str | None) -> tuple[requests.Response, bytes]:
        """Returns the whole response and its content.

        Sockets bound the time between two bytes. A server that sends one now and then is left behind with the thread.
        """
        found: Future = Future()

        def fetch():
            try:
                found.set_result(self._read(method, url, body))
            except BaseException as error:  # raised below
                found.set_exception(error)

        threading.Thread(target=fetch, daemon=True).start()
        try:
            return found.result(2 * self._timeout)
        except TimeoutError as error:
            raise SlowError(f"no complete response within {2 * self._timeout:g} s") from error

    def _read(self, method: str, url: str, body: str | None) -> tuple[requests.Response, bytes]:
        response = self._http.request(
            method,
            url,
            data=body,
            timeout=self._timeout,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,  # a redirected POST would become a GET: report the redirection instead
            stream=True,
        )
        with response:
            content = bytearray()
            for part in response.iter_content(_AT_ONCE):
                content += part
                if len(content) > MOST_BYTES:
                    raise RefusedError(f"the response has more than {MOST_BYTES:,} bytes", divisible=True)
            return response, bytes(content)


def _width(info: Any) -> int | None:
    return width_of([int(dim["size"]) for dim in info.get("tensor_shape", {}).get("dim", ())])


def _member(answer: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(answer, dict) or name not in answer:
            raise RefusedError(f"the response is not TensorFlow Serving's: no {name!r} in {one_line(json.dumps(answer), 80)}")
        answer = answer[name]
    return answer


def _told(content: bytes) -> str:
    """Returns the message in an error body, if it is TensorFlow Serving's JSON; a proxy may send anything else."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _reason(error: BaseException) -> str:
    """Returns the root cause: the message of `requests` nests three exceptions."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
