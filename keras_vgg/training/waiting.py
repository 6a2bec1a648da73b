"""Lets workers wait for each other before TensorFlow does, which waits silently and ignores signals."""

import contextlib
import socket
import time
from collections.abc import Callable, Sequence

from keras_vgg.errors import InputError
from keras_vgg.support.counts import counted

PATIENCE = 600.0  # seconds: pods fetch their images meanwhile
_BETWEEN_TRIES, _BETWEEN_WORDS, _FOR_ONE = 0.2, 30.0, 1.0


def meet(
    addresses: Sequence[str], index: int, *, patience: float = PATIENCE, every: float = _BETWEEN_WORDS, say: Callable = print
) -> None:
    """Returns once every worker has been reached at its address. Meanwhile, this worker listens at its own.

    Args:
        addresses: `host:port` of every worker.
        index: index of this worker.
        patience: maximum seconds to wait.
        every: seconds between two messages about missing workers.
        say: prints a message.

    Raises:
        InputError: if a worker is still missing at the end, or this worker's port is in use.
    """
    missing = [address for number, address in enumerate(addresses) if number != index]
    began, told = time.monotonic(), None
    with _listening(addresses[index]):
        while missing := [address for address in missing if not _is_there(address)]:
            now = time.monotonic()
            if now - began > patience:
                raise InputError(
                    f"No connection after {patience:g} s to {_named(missing)}. Start the same command on every worker, and make "
                    f"sure that all addresses, {', '.join(addresses)}, can be reached from {addresses[index]}."
                )
            if told is None or now - told >= every:
                say(f"worker {index + 1} of {len(addresses)} is waiting for {_named(missing)}", flush=True)
                told = now
            time.sleep(_BETWEEN_TRIES)


def _named(addresses) -> str:
    return f"{counted(len(addresses), 'other')}: {', '.join(addresses)}"


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"A worker address must be host:port. Received: {address!r}.")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _listening(address: str):
    port = _parts(address)[1]
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6, backlog=1024)
    except OSError as error:
        raise InputError(
            f"Cannot listen at this worker's address, {address}: {error.strerror or error}. Choose a free port."
        ) from error
    with listener:  # a connection is enough, no answer is needed
        yield


def _is_there(address: str) -> bool:
    try:
        socket.create_connection(_parts(address), timeout=_FOR_ONE).close()
    except OSError:  # not started yet, or its name does not resolve yet
        return False
    return True
