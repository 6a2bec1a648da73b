"""How long requests took: counted while they run, told at the end."""

import array
import dataclasses
import threading
import time

import numpy as np

from keras_vgg.support.progress import speed

PERCENTILES = (50, 95, 99)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a session did.

    Attributes:
        requests: how many the server answered, refusals among them.
        images: how many came to an end, answered or failed.
        failed: those without an answer.
        retries: how many requests were sent again.
        percentiles: `{50: milliseconds}` of the requests that the server answered, NaN if there was none.
        images_per_second: answered images by the time that passed.
    """

    requests: int
    images: int
    failed: int
    retries: int
    percentiles: dict[int, float]
    images_per_second: float

    def __str__(self) -> str:
        latencies = ", ".join(
            f"p{percent} {value:.1f} ms" if value == value else f"p{percent} –" for percent, value in self.percentiles.items()
        )
        return (
            f"{self.requests} requests, {self.images} images, {self.failed} failed, {self.retries} retries; "
            f"{latencies} a request; {speed(self.images_per_second)} images/s"
        )


class Tally:
    """Counts for a report; threads may use it together."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds = array.array("d")  # 8 bytes a request, so that a million of them are no burden
        self._images = self._failed = self._retries = 0
        self._started = time.monotonic()

    def start(self) -> None:
        """Lets the time begin now, where it is later than the tally was made."""
        self._started = time.monotonic()

    def answered(self, seconds: float) -> None:
        """Counts a request that the server answered."""
        with self._lock:
            self._seconds.append(seconds)

    def retried(self) -> None:
        """Counts a request that is sent again."""
        with self._lock:
            self._retries += 1

    def finished(self, *, failed: bool) -> None:
        """Counts an image."""
        with self._lock:
            self._images += 1
            self._failed += failed

    def report(self) -> Report:
        """Returns what was counted up to now."""
        with self._lock:
            return Report(
                len(self._seconds),
                self._images,
                self._failed,
                self._retries,
                percentiles(self._seconds),
                (self._images - self._failed) / max(time.monotonic() - self._started, 1e-9),
            )


def percentiles(seconds: "array.array[float]") -> dict[int, float]:
    """Returns `{percent: milliseconds}` of spans, with linear interpolation between neighbours.

    Example: `percentiles(array.array("d", [0.1, 0.2]))[50]` is 150.
    """
    values = 1000 * np.percentile(seconds, PERCENTILES) if len(seconds) else np.full(len(PERCENTILES), np.nan)
    return dict(zip(PERCENTILES, values.tolist(), strict=True))
