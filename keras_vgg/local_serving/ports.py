"""Whether ports can be had, found out before a net is loaded. Imports no TensorFlow."""

import socket

from keras_vgg.errors import InputError


def check_port(host: str, port: int, *, flag: str) -> None:
    """Sees to it that a port can be had, so that nobody waits for a net to be loaded before hearing that it cannot.

    Raises:
        InputError: if not; it names `flag`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a server that has just ended
            tried.bind(address)
            tried.listen(1)
    except (OSError, UnicodeError) as error:
        raise refused(host, port, flag, error) from error


def refused(host: str, port: int, flag: str, error: Exception | str) -> InputError:
    """Returns what to raise where a port could not be had."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, socket.gaierror | UnicodeError) or "assign" in reason:
        return InputError(f"`--host` must be an address of this machine, such as 127.0.0.1. Received: {host} ({reason}).")
    return InputError(f"Port {port} of {host} cannot be had ({reason}); end what has it, or give another as {flag}.")
