"""A single version of a model, whatever the server loads meanwhile, and whether it is still available."""

import threading
from collections.abc import Sequence

from keras_vgg.remote.answers import NET, OUTPUTS
from keras_vgg.remote.protocol import AwayError, RefusedError, Rows, Signatures, Transport

_COMING = {"START", "LOADING"}  # states of a version that will become available


class GoneError(RefusedError):
    """The requested version or net is no longer available, and will not come back.

    Attributes:
        told: message for people, as a sentence.
    """

    def __init__(self, reason: str, told: str):
        super().__init__(reason)
        self.told = told


class PinnedModel:
    """A signature of one version of a model, which is one net. Thread-safe.

    Args:
        transport: the connection to the model.
        signature: one of `answers.OUTPUTS`.

    Attributes:
        signature: as given.
    """

    def __init__(self, transport: Transport, signature: str):
        self.signature = signature
        self._served: Signatures | None = None
        self._transport, self._net, self._lock = transport, "", threading.Lock()

    @property
    def served(self) -> Signatures:
        """The pinned version, as announced by the server; available after `pin`."""
        if self._served is None:
            raise RuntimeError("no version is pinned yet")
        return self._served

    def pin(self, served: Signatures | None = None) -> None:
        """Queries only this version from now on; by default the server's current one, unless one is already pinned.

        Raises:
            AwayError, RefusedError: if the server has to be asked for its version and does not return one.
        """
        if served is not None or self._served is None:
            self._served = served or self._transport.signatures()
            self._transport.pin(self._served.version)

    def predict(self, images: Sequence[bytes]) -> dict[str, Rows]:
        """Returns the outputs that are read, a row for each of the encoded images.

        Raises:
            AwayError, RefusedError: as for `Transport`.
            GoneError: if another net answered under this version number.
        """
        named = self.served.outputs.get(self.signature, {})
        outputs = self._transport.predict(self.signature, images, OUTPUTS[self.signature] + ((NET,) if NET in named else ()))
        digests = outputs.get(NET, ())
        self._check_net(set(map(str, digests)) if hasattr(digests, "__iter__") else {str(digests)})
        return outputs

    def is_there(self) -> bool:
        """Whether the server answers at all."""
        try:
            self._transport.states()
        except AwayError:
            return False
        except RefusedError:  # this is an answer too
            return True
        return True

    def check(self) -> None:
        """Checks the version again after the server reported it missing.

        Raises:
            AwayError: if the server is unavailable or still loading the version.
            GoneError: if the server has unloaded it.
        """
        try:
            states = self._transport.states()
        except RefusedError:
            states = {}
        version = self.served.version
        state = states.get(version)
        if state in _COMING:
            raise AwayError(f"version {version} is {state}")
        if state != "AVAILABLE":
            others = ", ".join(str(each) for each, state in sorted(states.items()) if state == "AVAILABLE") or "none"
            raise self._gone(f"the server no longer serves version {version}", f" (available: {others})")

    def _check_net(self, digests: set[str]) -> None:
        with self._lock:
            self._net = self._net or next(iter(digests), "")
        if digests - {self._net}:
            raise self._gone(f"the server now has another net as version {self.served.version}")

    def _gone(self, reason: str, more: str = "") -> GoneError:
        one = f"All results are from version {self.served.version}" if more else "All results are from the original net"
        told = f"{reason[0].upper()}{reason[1:]}{more}. {one}; send images without a result again."
        return GoneError(reason, told)

    def close(self) -> None:
        """Closes the transport."""
        self._transport.close()
