"""Connecting to a served model by its address, and checking that it is available."""

import re

from keras_vgg.errors import InputError
from keras_vgg.remote.answers import OUTPUTS
from keras_vgg.remote.protocol import AwayError, Model, RefusedError, Signatures, Transport

_ADDRESS = re.compile(r"(?:(?P<scheme>grpcs?|https?)://)?(?P<host>\[[^\]/]+\]|[^:/\s]+)(?::(?P<port>\d+))?(?P<path>/\S*)?")


def connect(url: str, model: Model, *, timeout: float, concurrency: int) -> Transport:
    """Returns the transport for an address; nothing is sent yet.

    Args:
        url: `HOST:PORT` or `grpc://HOST:PORT` for gRPC, `grpcs://HOST:PORT` for gRPC over TLS, `http://HOST:PORT` or
            `https://HOST[:PORT]` for REST.
        model: the model to query.
        timeout: seconds for a request.
        concurrency: number of threads that share the transport.

    Raises:
        InputError: for an invalid address.
    """
    parts = _ADDRESS.fullmatch(url)
    rest = parts and (parts["scheme"] or "").startswith("http")
    if not parts or (not rest and (parts["port"] is None or (parts["path"] or "/") != "/")):
        raise InputError(f"The server address must be HOST:8500 (gRPC) or http://HOST:8501 (REST). Received: {url!r}.")
    if parts["port"] is not None and not 0 < int(parts["port"]) < 65536:
        raise InputError(f"The port must be a number from 1 to 65535. Received: {url!r}.")
    if rest:
        from keras_vgg.remote.rest_transport import RestTransport

        return RestTransport(url, model, timeout=timeout, concurrency=concurrency)
    from keras_vgg.remote.grpc_transport import GrpcTransport  # imports TensorFlow, which REST does not need

    return GrpcTransport(f"{parts['host']}:{parts['port']}", model, timeout=timeout, secure=parts["scheme"] == "grpcs")


def look(transport: Transport, url: str, model: Model, signature: str) -> Signatures:
    """Returns the signatures of a model, after checking that it has `signature` with the outputs that are read.

    Does not wait for an unavailable server, so that a mistyped address fails at once.

    Raises:
        InputError: if the server, the model, its version or the signature is not available; the message lists what is.
    """
    try:
        states = transport.states()
        available = [str(version) for version, state in sorted(states.items()) if state == "AVAILABLE"]
        if not available:
            told = ", ".join(f"version {version} is {state}" for version, state in sorted(states.items())) or "it has no versions"
            raise InputError(f"The model {model.name!r} at {url} is not available: {told}.")
        if model.version is not None and str(model.version) not in available:
            raise InputError(
                f"Version {model.version} of {model.name!r} at {url} is not available. Available: {', '.join(available)}."
            )
        served = transport.signatures()
    except AwayError as error:
        raise InputError(
            f"No response from TensorFlow Serving at {url} ({error}). Pass its gRPC port as HOST:8500 or its REST port as "
            "http://HOST:8501."
        ) from error
    except RefusedError as error:
        what = repr(model.name) + (f" with label {model.label!r}" if model.label else "")
        flags = "--model-name and --label" if model.label else "--model-name"
        raise InputError(f"The server at {url} has no model {what} ({error}). Pass the right {flags}.") from error
    outputs = set(OUTPUTS[signature])
    if not outputs <= served.outputs.get(signature, {}).keys():
        raise InputError(
            f"Version {served.version} of the model {model.name!r} at {url} must have a signature {signature!r} with the outputs "
            f"{', '.join(sorted(outputs))}. It has: "
            + "; ".join(f"{name} ({', '.join(sorted(given))})" for name, given in sorted(served.outputs.items()))
            + ". The client sends image files; export the net with python -m keras_vgg.export."
        )
    return served
