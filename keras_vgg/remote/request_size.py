"""Adapts the number of images per request to what a server answers within the timeout."""

import threading

_FIRST_RUN, _LONGEST_RUN = 8, 1024  # timely answers before the size is doubled


class RequestSize:
    """The request size that a server answers in time: halved when a request times out, doubled after a run of answers.

    After every doubling that proves too much, the next one waits twice as long: a permanently slow server sees few of them, while
    a single slow image does not keep all later requests small. Thread-safe.

    Args:
        largest: maximum number of images per request.
    """

    def __init__(self, largest: int):
        self._lock = threading.Lock()
        self._largest = self._now = largest
        self._run, self._wanted = 0, _FIRST_RUN

    @property
    def now(self) -> int:
        """The current maximum number of images per request."""
        return self._now

    def in_time(self, images: int) -> None:
        """Records that a request with this many images was answered in time."""
        with self._lock:
            self._run += images >= self._now  # smaller ones prove nothing
            if self._now < self._largest and self._run >= self._wanted:
                self._now, self._run = min(2 * self._now, self._largest), 0

    def too_slow(self, images: int) -> None:
        """Records that a request with this many images timed out; several at once halve the size once."""
        with self._lock:
            self._run = 0
            if images <= self._now and self._now > 1:
                self._now = max(1, images // 2)
                self._wanted = min(2 * self._wanted, _LONGEST_RUN)
