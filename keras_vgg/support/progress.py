"""The live line of long work: one that is rewritten on a terminal, one now and then in a file."""

import shutil
import time

from keras_vgg.support import streams

_TERMINAL_SECONDS, _FILE_SECONDS = 0.2, 30.0


class Progress:
    """Shows how far work is. As a context it takes its live line away at the end, so that what is told next has a line of its own.

    Args:
        total: images in all, or whatever `unit` says.
        done: images that an earlier process has worked through already.
        stream: where to write; nothing is written for `None`.
        unit: what is counted.
        may_end_early: whether less than the total may be needed.
    """

    def __init__(self, total: float, done: float = 0, stream=None, *, unit: str = "images", may_end_early: bool = False):
        self._total, self._done, self._stream, self._unit = total, done, stream, unit
        self._most = "≤ " if may_end_early else ""
        self._live = stream is not None and stream.isatty()
        self._every = _TERMINAL_SECONDS if self._live else _FILE_SECONDS
        self._started = self._shown = time.monotonic()
        self._counted = 0.0
        self._length = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        if self._length:
            self._write("", end="")

    @property
    def images_per_second(self) -> float:
        """Images a second since this process began to work."""
        return self._counted / max(time.monotonic() - self._started, 1e-9)

    def count(self, images: float) -> None:
        """Counts images as done."""
        self._counted += images

    def show(self, text: str) -> None:
        """Shows `text` with the rate and the time left, unless it was shown only just."""
        now = time.monotonic()
        if self._stream is None or now - self._shown < self._every:
            return
        self._shown = now
        rate = self.images_per_second
        left = duration((self._total - self._done - self._counted) / rate) if rate else "?"
        tail = f"  {speed(rate)} {self._unit}/s  {self._most}{left} left"
        if self._live:  # a line that wraps could not be taken away again
            text, tail = streams.shown(text, self._stream), streams.shown(tail, self._stream)
            cut = streams.shown("…", self._stream)
            room = max(len(cut), shutil.get_terminal_size().columns - 1 - len(tail))
            text = text if len(text) <= room else f"{text[: room - len(cut)]}{cut}"
        self._write(text + tail, end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        if self._stream is not None:
            self._write(text, end="\n")

    def _write(self, text, end):
        start = f"\r{' ' * self._length}\r" if self._live else ""
        self._length = 0 if end else len(text)
        print(start + text, end=end, file=self._stream, flush=True)


def speed(number: float) -> str:
    """Returns a speed as people read it, in three digits or all before the point: `0.0123`, `45.6`, `1,234`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Returns a span as people say it: `45s`, `3m10s`, `2h05m`, `3d04h`."""
    seconds = max(0, round(seconds))
    for unit, size, small_unit, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // small_size:02d}{small_unit}"
    return f"{seconds}s"
