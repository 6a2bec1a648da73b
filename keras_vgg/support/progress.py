"""Progress of long work: one line that is rewritten on a terminal, or an occasional line in a file."""

import shutil
import time

from keras_vgg.support import streams

_TERMINAL_SECONDS, _FILE_SECONDS = 0.2, 30.0


class Progress:
    """Shows the progress of work. As a context manager it clears its live line at the end, so that the next output starts afresh.

    Args:
        total: number of images, or of what `unit` names.
        done: number that an earlier process has already processed.
        stream: where to write; nothing is written for `None`.
        unit: what is counted.
        may_end_early: whether the work may finish before the total.
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
        """Images per second since this process started to work."""
        return self._counted / max(time.monotonic() - self._started, 1e-9)

    def count(self, images: float) -> None:
        """Counts images as done."""
        self._counted += images

    def show(self, text: str) -> None:
        """Shows `text` with the speed and the time left, unless it was updated just before."""
        now = time.monotonic()
        if self._stream is None or now - self._shown < self._every:
            return
        self._shown = now
        rate = self.images_per_second
        left = duration((self._total - self._done - self._counted) / rate) if rate else "?"
        tail = f"  {speed(rate)} {self._unit}/s  {self._most}{left} left"
        if self._live:  # a wrapped line could not be cleared
            text, tail = streams.shown(text, self._stream), streams.shown(tail, self._stream)
            cut = streams.shown("…", self._stream)
            room = max(len(cut), shutil.get_terminal_size().columns - 1 - len(tail))
            text = text if len(text) <= room else f"{text[: room - len(cut)]}{cut}"
        self._write(text + tail, end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """Writes a permanent line."""
        if self._stream is not None:
            self._write(text, end="\n")

    def _write(self, text, end):
        start = f"\r{' ' * self._length}\r" if self._live else ""
        self._length = 0 if end else len(text)
        print(start + text, end=end, file=self._stream, flush=True)


def speed(number: float) -> str:
    """Returns a speed for display, with three digits or all before the point: `0.0123`, `45.6`, `1,234`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Returns a duration for display: `45s`, `3m10s`, `2h05m`, `3d04h`."""
    seconds = max(0, round(seconds))
    for unit, size, small_unit, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // small_size:02d}{small_unit}"
    return f"{seconds}s"
