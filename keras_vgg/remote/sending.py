"""Sends one request until the server answers it, times out, or stays unavailable for too long."""

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
_SLOW_TRIES = 3  # attempts for a single image if the server is available but does not answer in time
_SLOW_IMAGES = 3  # images in a row that time out before the session gives up


class Sender:
    """Sends requests until each is answered or fails; thread-safe.

    Args:
        model: the model to query.
        tally: counts answers and retries.
        size: learns which request sizes are answered in time.
        retry_for: seconds to retry a request while the server is unavailable.
        say: called with a line when the server is unavailable.

    Attributes:
        gone: why nothing is sent anymore; "" while sending.
    """

    def __init__(self, model: PinnedModel, *, tally: Tally, size: RequestSize, retry_for: float, say: Callable[[str], None]):
        self.gone = ""
        self._model, self._tally, self._size, self._retry_for, self._say = model, tally, size, retry_for, say
        self._slow_images = 0  # since the last answer
        self._told = False  # whether the user knows that the server is unavailable
        self._stop = threading.Event()  # set when no request is to be sent again
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether sending has stopped."""
        return self._stop.is_set()

    def close(self) -> None:
        """Stops sending and retrying."""
        self._stop.set()

    def send(self, images: Sequence[bytes]) -> tuple[dict[str, Rows], float]:
        """Returns the outputs for encoded images, and the seconds that the successful request took.

        Raises:
            SlowError: if the server is available but does not answer this many images in time.
            AwayError: if it was unavailable for `retry_for` seconds.
            RefusedError: if it refuses the request.
        """
        retrying = tenacity.Retrying(
            # A request with several images that timed out is split rather than retried.
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, AwayError) and not (isinstance(error, SlowError) and len(images) > 1)
            ),
            # Full jitter, so that clients do not all return at the same time when a server comes back.
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
        except SlowError as slow:  # the server is available
            self._size.too_slow(len(images))
            if len(images) == 1:
                self._count_slow_image(slow)
            raise
        except AwayError as away:
            # A server that cannot handle this request may handle others.
            if not self._stop.is_set() and not self._model.is_there():
                self._give_up(f"the server is unavailable: {away}")
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
        """Stops sending; returns whether this is the first reason to stop."""
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
            what = "slow" if isinstance(error, SlowError) else "unavailable"
            self._say(f"The server is {what} ({error}); retrying for {self._retry_for:g} s.")


class _SlowTooOften(tenacity.stop.stop_base):
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return isinstance(_error_of(retry_state), SlowError) and retry_state.attempt_number >= _SLOW_TRIES


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
