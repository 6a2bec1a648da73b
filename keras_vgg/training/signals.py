"""Treats SIGTERM, SIGHUP, Ctrl-C and a closed standard output as requests to stop at the next safe point."""

import os
import signal
import sys
import threading
from typing import Any

from keras_vgg.support import streams

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Context manager that records the first of `SIGNALS` and reports it at once; a second one ends the process immediately.

    A standard output whose reader has exited, as in `… | head`, is also a request to stop: `signal` is then SIGPIPE.

    Ignored signals, such as SIGHUP under nohup, stay ignored. Signals are only handled in the main thread: elsewhere (Ray Train
    runs its workers in threads) they belong to the host program.

    Args:
        promise: text printed on a signal, saying what follows.
    """

    def __init__(self, promise: str = "stopping"):
        self.signal: signal.Signals | None = None
        self._promise = promise
        self._before: dict[int, Any] = {}
        self._pipe: int | None = None
        self._output: streams.Output | None = None

    def __bool__(self):
        return self.signal is not None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._listen()
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
            self._output = sys.stdout if isinstance(sys.stdout, streams.Output) else None
            if self._output:
                self._output.when_unread = self._remember_unread
        return self

    def __exit__(self, *exception):
        if self._output:
            self._output.when_unread = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._pipe is not None:
            signal.set_wakeup_fd(self._waked_before)
            os.close(self._pipe)  # ends the thread
            self._thread.join()
            self._before, self._pipe = {}, None

    def _remember(self, number, frame):
        self.signal = signal.Signals(number)
        for handled in self._before:
            signal.signal(handled, signal.SIG_DFL)  # Python's handlers would wait for TensorFlow to return

    def _remember_unread(self):
        self.signal = self.signal or signal.SIGPIPE
        print(f"\nstandard output was closed: {self._promise}", file=sys.stderr, flush=True)

    def _listen(self):
        # Handlers also wait for TensorFlow, up to a minute; a thread that receives the number through a pipe does not.
        reader, pipe = os.pipe()
        os.set_blocking(pipe, False)
        self._pipe, self._waked_before = pipe, signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._tell, args=(reader,), daemon=True)
        self._thread.start()

    def _tell(self, reader):
        with open(reader, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in SIGNALS:
                    name = signal.Signals(number[0]).name
                    print(f"\n{name}: {self._promise}; a second signal ends at once", file=sys.stderr, flush=True)
                    return
