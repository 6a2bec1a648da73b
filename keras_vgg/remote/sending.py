"""One request, sent until the server answers it, is too slow for it, or was away for too long."""

import threading
import time
from collections.abc import Callable, Sequence

from keras_vgg.remote.latency import Tally
from keras_vgg.remote.pinned import GoneError, PinnedModel
from keras_vgg.remote.protocol import AwayError, RefusedError, Rows, SlowError
from keras_vgg.remote.request_size import RequestSize
from keras_vgg.support import extras

with extras.needed("serve"):
    import tenacity

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds
_SLOW_TRIES = 3  # times that a single image is sent to a server that is there, but does not answer in time
_SLOW_IMAGES = 3  # images without an answer in time, and no answer in between, after which the server is given up


class Sender:
    """Sends requests until each came to an end; threads may use it together.

    Args:
        model: what is asked.
        tally: counts answers and retries.
        size: learns which requests are answered in time.
        retry_for: seconds to go on with a request to a server that is away.
        say: is told in a line when the server is away.

    Attributes:
        gone: why nothing is sent any more; "" while it is.
    """

    def __init__(self, model: PinnedModel, *, tally: Tally, size: RequestSize, retry_for: float, say: Callable[[str], None]):
        self.gone = ""
        self._model, self._tally, self._size, self._retry_for, self._say = model, tally, size, retry_for, say
        self._slow_images = 0  # since the last answer
        self._told = False  # whether it was said that the server is away
        self._stop = threading.Event()  # no request is sent again
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether nothing is sent any more."""
        return self._stop.is_set()

    def close(self) -> None:
        """Lets nothing be sent any more, and nothing again."""
        self._stop.set()

    def send(self, images: Sequence[bytes]) -> tuple[dict[str, Rows], float]:
        """Returns the outputs for encoded images, and the seconds that the request took which brought them.

        Raises:
            SlowError: if the server is there, but does not answer so many images in time.
            AwayError: if it was away for `retry_for` seconds.
            RefusedError: if it answers that it cannot do it.
        """
        retrying = tenacity.Retrying(
            # Several images that take too long are not sent together again.
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, AwayError) and not (isinstance(error, SlowError) and len(images) > 1)
            ),
            # Full jitter: the clients of a server that comes back do not all come at the same time.
            wait=tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT),
            stop=tenacity.stop_any(
                tenacity.stop_after_delay(self._retry_for), tenacity.stop_when_event_set(self._stop), _SlowTooOften()
            ),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=self._before_retry,
            reraise=True,
        )
        try:
            return retrying(self._send, images)
        except GoneError as gone:
            if self._give_up(str(gone)):
                self._say(gone.told)
            raise
        except SlowError as slow:  # by a server that is there
            self._size.too_slow(len(images))
            if len(images) == 1:
                self._count_slow_image(slow)
            raise
        except AwayError as away:
            # A server that is there, but does not manage this request, may manage others.
            if not self._stop.is_set() and not self._model.is_there():
                self._give_up(f"the server is away: {away}")
            raise

    def _send(self, images: Sequence[bytes]) -> tuple[dict[str, Rows], float]:
        started = time.monotonic()
        try:
            outputs = self._model.predict(images)
        except RefusedError as refusal:
            self._hear(started)
            if refusal.missing:
                self._model.check()
            raise
        except SlowError as slow:
            if not self._model.is_there():
                raise AwayError(str(slow)) from slow
            raise
        seconds = self._hear(started)
        self._size.in_time(len(images))
        self._slow_images = 0
        return outputs, seconds

    def _hear(self, started: float) -> float:
        seconds = time.monotonic() - started
        self._told = False
        self._tally.answered(seconds)
        return seconds

    def _count_slow_image(self, slow: SlowError) -> None:
        with self._lock:
            self._slow_images += 1
            hopeless = self._slow_images >= _SLOW_IMAGES
        if hopeless:
            self._give_up(f"the server is too slow even for single images: {slow}")

    def _give_up(self, reason: str) -> bool:
        """Lets nothing be sent any more; returns whether this is the first reason for it."""
        with self._lock:
            if self._stop.is_set():
                return False
            self.gone = reason
            self._stop.set()
            return True

    def _before_retry(self, state: tenacity.RetryCallState) -> None:
        self._tally.retried()
        with self._lock:
            told, self._told = self._told, True
        if not told:
            error = _error_of(state)
            what = "slow" if isinstance(error, SlowError) else "away"
            self._say(f"The server is {what} ({error}); trying again for {self._retry_for:g} s.")


class _SlowTooOften(tenacity.stop.stop_base):
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return isinstance(_error_of(retry_state), SlowError) and retry_state.attempt_number >= _SLOW_TRIES


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
