"""SIGTERM and Ctrl-C as a wish to stop that is granted at the next good moment."""

import signal
import threading


class StopRequest:
    """While entered, remembers a SIGTERM or SIGINT; a second one has its usual effect.

    Only in a program's main thread: elsewhere (Ray Train runs its workers in threads) signals belong to the host program.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None

    def __bool__(self):
        return self.signal is not None

    def __enter__(self):
        ours = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT) if ours}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        self.signal = signal.Signals(number)
        for number, handler in self._before.items():
            signal.signal(number, handler)
