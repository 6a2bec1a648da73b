"""Workers that wait for each other before TensorFlow does, which waits without a word and heeds no signal."""

import contextlib
import socket
import time
from collections.abc import Callable, Sequence

from keras_vgg.errors import InputError

PATIENCE = 600.0  # seconds: pods fetch their images meanwhile
_BETWEEN_TRIES, _BETWEEN_WORDS, _FOR_ONE = 0.2, 30.0, 1.0


def meet(
    addresses: Sequence[str], index: int, *, patience: float = PATIENCE, every: float = _BETWEEN_WORDS, say: Callable = print
) -> None:
    """Returns once every worker has been seen at its address. To be seen, this one listens at its own meanwhile.

    Args:
        addresses: `host:port` of every worker.
        index: which of them this is.
        patience: seconds to wait at most.
        every: seconds between two words on who is missing.
        say: is told in a line.

    Raises:
        InputError: if somebody is missing in the end, or this worker's port is taken.
    """
    missing = [address for number, address in enumerate(addresses) if number != index]
    began, told = time.monotonic(), None
    with _listening(addresses[index]):
        while missing := [address for address in missing if not _is_there(address)]:
            now = time.monotonic()
            if now - began > patience:
                raise InputError(
                    f"Waited {patience:g} s for {_named(missing)}, in vain. Start the same command on every worker, and see to "
                    f"it that the addresses of all, {', '.join(addresses)}, can be reached from {addresses[index]}."
                )
            if told is None or now - told >= every:
                say(f"worker {index + 1} of {len(addresses)} waits for {_named(missing)}", flush=True)
                told = now
            time.sleep(_BETWEEN_TRIES)


def _named(addresses) -> str:
    return f"{len(addresses)} other{'s' if len(addresses) > 1 else ''}: {', '.join(addresses)}"


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"The address of a worker must be host:port. Received: {address!r}.")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _listening(address: str):
    port = _parts(address)[1]
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6, backlog=1024)
    except OSError as error:
        raise InputError(
            f"This worker's address, {address}, must have a port that is free. Received: {error.strerror or error}."
        ) from error
    with listener:  # nobody need be answered: to be connected is to be there
        yield


def _is_there(address: str) -> bool:
    try:
        socket.create_connection(_parts(address), timeout=_FOR_ONE).close()
    except OSError:  # not started yet, or not known by name yet
        return False
    return True
