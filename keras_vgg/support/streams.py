"""Standard streams that never abort a command: unencodable text becomes ASCII; refused output is dropped and reported.

A Latin-1 or ASCII locale has no `≤`, `–` or `█`; a full disk accepts no more lines. Neither may cost the results.
"""

import codecs
import os
import sys
from collections.abc import Callable

_ERRORS = "keras_vgg.readable"
_STAND_INS = {
    "…": "...", "–": "-", "—": "--", "−": "-", "×": "x", "·": "*", "≤": "<=", "≥": ">=", "→": "->", "≈": "~", "±": "+-",
    "█": "#", "’": "'", "‘": "'", "“": '"', "”": '"', "η": "eta", "λ": "lambda",
}  # fmt: skip
_STANDARD = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanting = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(sign) or _escaped(sign) for sign in wanting), error.end


def _escaped(sign: str) -> str:
    if 0xDC80 <= ord(sign) <= 0xDCFF:  # a byte of a file name that is not valid in the locale's encoding
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_ERRORS, _readable)


class Output:
    """A text stream that drops what its file refuses and records why; otherwise it behaves as the stream that it wraps.

    A closed pipe raises `BrokenPipeError` as usual, unless `when_unread` is set.

    Attributes:
        refused: why something was dropped; `None` if nothing was.
        when_unread: called instead of the error once the reader has closed the pipe; later output is dropped.
    """

    def __init__(self, stream):
        self._stream = stream
        self.refused: str | None = None
        self.when_unread: Callable[[], None] | None = None

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes `text`, or drops it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flushes pending output, or drops it."""
        self._try(self._stream.flush)

    def _try(self, action):
        try:
            action()
        except BrokenPipeError:
            if self.when_unread is None:
                raise
            turn_away(self._stream)
            self.when_unread()
        except OSError as error:
            self.refused = self.refused or error.strerror or str(error)
            turn_away(self._stream)


class _Closed(Output):
    """A standard stream that was closed when the process started."""

    def write(self, text: str) -> int:
        if text:
            self.refused = "it is closed"
        return super().write(text)


def prepare() -> None:
    """Wraps `sys.stdout` and `sys.stderr` in `Output`."""
    for name, descriptor, mode in _STANDARD:
        stream, closed = getattr(sys, name), getattr(sys, name) is None
        if closed:  # else the next file to be opened would get its descriptor, and the stream's output
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)
        if mode == "w" and not isinstance(stream, Output):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors=_ERRORS)
            stream = _Closed(stream) if closed else Output(stream)
            if name == "stderr":
                stream.when_unread = _nobody_minds
        setattr(sys, name, stream)


def _nobody_minds() -> None:
    """Standard error aborts nothing, as with `2>&1 | head`: standard output reports the closed pipe."""


def turn_away(stream) -> None:
    """Redirects `stream`, with its pending output, to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def shown(text: str, stream) -> str:
    """Returns `text` as `stream` will display it."""
    encoding, errors = getattr(stream, "encoding", None) or "utf-8", getattr(stream, "errors", None) or "strict"
    return text.encode(encoding, errors).decode(encoding)
