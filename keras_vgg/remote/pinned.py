"""The one version of a model that is asked, whatever the server takes up meanwhile, and whether it is still there."""

import threading
from collections.abc import Sequence

from keras_vgg.remote.answers import NET, OUTPUTS
from keras_vgg.remote.protocol import AwayError, RefusedError, Rows, Signatures, Transport

_COMING = {"START", "LOADING"}  # states of a version that will be there


class GoneError(RefusedError):
    """What was asked is there no more, and will not come back.

    Attributes:
        told: what people should be told, as a sentence.
    """

    def __init__(self, reason: str, told: str):
        super().__init__(reason)
        self.told = told


class PinnedModel:
    """A signature of one version of a model, which is one net. Threads may use it together.

    Args:
        transport: the way to the model.
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
        """The version, as it was looked at; there is one from `pin` on."""
        if self._served is None:
            raise RuntimeError("no version was pinned yet")
        return self._served

    def pin(self, served: Signatures | None = None) -> None:
        """Asks only this version from now on; by default the one that the server gives now, unless there is one already.

        Raises:
            AwayError, RefusedError: if the server is to be asked for its version, and does not tell one.
        """
        if served is not None or self._served is None:
            self._served = served or self._transport.signatures()
            self._transport.pin(self._served.version)

    def predict(self, images: Sequence[bytes]) -> dict[str, Rows]:
        """Returns the outputs that are looked at, a row for each of the encoded images.

        Raises:
            AwayError, RefusedError: as a `Transport`.
            GoneError: if another net answered under the number of the version.
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
        except RefusedError:  # an answer, too
            return True
        return True

    def check(self) -> None:
        """Looks again for the version, once the server has said that it is missing.

        Raises:
            AwayError: if the server is away or about to have it.
            GoneError: if the server has let go of it.
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
            raise self._gone(f"the server no longer serves version {version}", f" (it has: {others})")

    def _check_net(self, digests: set[str]) -> None:
        with self._lock:
            self._net = self._net or next(iter(digests), "")
        if digests - {self._net}:
            raise self._gone(f"the server has another net as version {self.served.version} now")

    def _gone(self, reason: str, more: str = "") -> GoneError:
        one = f"All answers are of version {self.served.version}" if more else "All answers are of the net that was there first"
        told = f"{reason[0].upper()}{reason[1:]}{more}. {one}; ask again about images without one."
        return GoneError(reason, told)

    def close(self) -> None:
        """Closes the transport."""
        self._transport.close()
