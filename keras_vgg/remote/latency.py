"""Latencies of requests, counted while they run and reported at the end."""

import array
import dataclasses
import threading
import time

import numpy as np

from keras_vgg.support.progress import speed

PERCENTILES = (50, 95, 99)


@dataclasses.dataclass(frozen=True)
class Report:
    """Statistics of a session.

    Attributes:
        requests: number of requests that the server answered, including refusals.
        images: number of images completed, answered or failed.
        failed: number of images without a result.
        retries: number of requests sent again.
        percentiles: `{50: milliseconds}` of the requests that the server answered, NaN if there was none.
        images_per_second: answered images divided by elapsed time.
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
            f"{latencies} per request; {speed(self.images_per_second)} images/s"
        )


class Tally:
    """Counts for a report; thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds = array.array("d")  # 8 bytes per request: little even for a million
        self._images = self._failed = self._retries = 0
        self._started = time.monotonic()

    def start(self) -> None:
        """Restarts the clock."""
        self._started = time.monotonic()

    def answered(self, seconds: float) -> None:
        """Counts a request that the server answered."""
        with self._lock:
            self._seconds.append(seconds)

    def retried(self) -> None:
        """Counts a retry."""
        with self._lock:
            self._retries += 1

    def finished(self, *, failed: bool) -> None:
        """Counts an image."""
        with self._lock:
            self._images += 1
            self._failed += failed

    def report(self) -> Report:
        """Returns the counts so far."""
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
    """Returns `{percent: milliseconds}` of durations, with linear interpolation between neighbors.

    Example: `percentiles(array.array("d", [0.1, 0.2]))[50]` is 150.
    """
    values = 1000 * np.percentile(seconds, PERCENTILES) if len(seconds) else np.full(len(PERCENTILES), np.nan)
    return dict(zip(PERCENTILES, values.tolist(), strict=True))
