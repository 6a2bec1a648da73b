"""SIGTERM and Ctrl-C as a wish to stop that is granted at the next good moment."""

import signal


class StopRequest:
    """While entered, remembers a SIGTERM or SIGINT; a second one has its usual effect."""

    def __init__(self):
        self.signal: signal.Signals | None = None

    def __bool__(self):
        return self.signal is not None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        self.signal = signal.Signals(number)
        for number, handler in self._before.items():
            signal.signal(number, handler)
