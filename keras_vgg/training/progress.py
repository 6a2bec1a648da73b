"""The live line of a run: one that is rewritten on a terminal, one now and then in a file."""

import sys
import time

_TERMINAL_SECONDS, _FILE_SECONDS = 0.2, 30.0


class Progress:
    """Shows how far a run is.

    Args:
        total: images in all, over all epochs.
        done: images that an earlier process has trained on already.
        stream: where to write; nothing is written for `None`.
    """

    def __init__(self, total: int, done: int = 0, stream=sys.stdout):
        self._total, self._done, self._stream = total, done, stream
        self._live = stream is not None and stream.isatty()
        self._every = _TERMINAL_SECONDS if self._live else _FILE_SECONDS
        self._started = self._shown = time.monotonic()
        self._counted = 0
        self._length = 0

    @property
    def images_per_second(self) -> float:
        """Images a second since this process began to train."""
        return self._counted / max(time.monotonic() - self._started, 1e-9)

    def count(self, images: int) -> None:
        """Counts images as trained on."""
        self._counted += images

    def show(self, text: str) -> None:
        """Shows `text` with the rate and the time left, unless it was shown only just."""
        now = time.monotonic()
        if self._stream is None or now - self._shown < self._every:
            return
        self._shown = now
        rate = self.images_per_second
        left = duration((self._total - self._done - self._counted) / rate) if rate else "?"
        self._write(f"{text}  {rate:.3g} images/s  at most {left} left", end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        if self._stream is not None:
            self._write(text, end="\n")

    def _write(self, text, end):
        start = f"\r{' ' * self._length}\r" if self._live else ""
        self._length = 0 if end else len(text)
        print(start + text, end=end, file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """Returns a span as people say it: `45s`, `3m10s`, `2h05m`, `3d04h`."""
    seconds = max(0, round(seconds))
    for unit, size, small_unit, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // small_size:02d}{small_unit}"
    return f"{seconds}s"
