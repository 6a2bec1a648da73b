"""How many images a request may hold for a server that has only so much time to answer it."""

import threading

_FIRST_RUN, _LONGEST_RUN = 8, 1024  # answers in time before twice as many images are tried


class RequestSize:
    """The size of requests that a server answers in time: halved when one takes too long, doubled after a run of answers.

    Every doubling that proves too much makes the next one wait twice as long, so that a server that is slow for good sees few
    of them, while one image that takes long does not make the requests about all others small for ever. Threads may use it
    together.

    Args:
        largest: images in a request, which is never exceeded.
    """

    def __init__(self, largest: int):
        self._lock = threading.Lock()
        self._largest = self._now = largest
        self._run, self._wanted = 0, _FIRST_RUN

    @property
    def now(self) -> int:
        """How many images a request may hold now."""
        return self._now

    def in_time(self, images: int) -> None:
        """Heeds that a request about so many images was answered."""
        with self._lock:
            self._run += images >= self._now  # smaller ones prove nothing
            if self._now < self._largest and self._run >= self._wanted:
                self._now, self._run = min(2 * self._now, self._largest), 0

    def too_slow(self, images: int) -> None:
        """Heeds that a request about so many images took too long; several of them at once halve once."""
        with self._lock:
            self._run = 0
            if images <= self._now and self._now > 1:
                self._now = max(1, images // 2)
                self._wanted = min(2 * self._wanted, _LONGEST_RUN)
