"""Checks that ports are free before a net is loaded. Imports no TensorFlow."""

import socket

from keras_vgg.errors import InputError


def check_port(host: str, port: int, *, flag: str) -> None:
    """Checks that a port is free, so that users do not wait for a net to load before they learn that it is not.

    Raises:
        InputError: if it is not free; the message names `flag`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # allows the port of a server that has just stopped
            tried.bind(address)
            tried.listen(1)
    except (OSError, UnicodeError) as error:
        raise refused(host, port, flag, error) from error


def refused(host: str, port: int, flag: str, error: Exception | str) -> InputError:
    """Returns the error for a port that cannot be bound."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, socket.gaierror | UnicodeError) or "assign" in reason:
        return InputError(f"`--host` must be an address of this machine, such as 127.0.0.1. Received: {host} ({reason}).")
    return InputError(f"Port {port} of {host} is not available ({reason}); stop the program that uses it, or pass another {flag}.")
