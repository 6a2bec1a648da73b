"""Asks about any number of images: in batches, several at once, again where the server was away, and with bounded memory.

Each image comes to exactly one end, an answer or an error. A request that the server refuses is cut in halves, down to single
images, so that an image at fault does not take others with it.
"""

import collections
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import tenacity

from keras_vgg.remote.answers import OUTPUTS, Answer, read_answers
from keras_vgg.remote.latency import Tally
from keras_vgg.remote.protocol import AwayError, RefusedError, Transport

_AHEAD = 2  # batches under way or waiting to be given out, for each request at once
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds


def read_image(path: str) -> bytes:
    """Returns the content of an image file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is empty.
    """
    with open(path, "rb") as file:
        content = file.read()
    if not content:
        raise ValueError("empty file")
    return content


class Session:
    """Asks a served model about images.

    Args:
        transport: the way to the model; it is closed with the session.
        signature: `classify` or `features`.
        batch: images in a request.
        concurrency: requests at once.
        retry_for: seconds to go on with a request to a server that is away.
        read: gives the encoded image for a path; its `OSError` and `ValueError` are the image's error.
        say: is told in a line when the server is away.

    Example:
        `with Session(connect("127.0.0.1:8500", Model("vgg"), timeout=60, concurrency=4)) as session:` and then
        `for answer in session.ask(paths): print(answer.path, answer.error or answer.top[0].name)`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        signature: str = "classify",
        batch: int = 8,
        concurrency: int = 4,
        retry_for: float = 120.0,
        read: Callable[[str], bytes] = read_image,
        say: Callable[[str], None] = lambda line: None,
    ):
        self.tally = Tally()
        self._transport, self._signature, self._read, self._say = transport, signature, read, say
        self._batch, self._concurrency, self._retry_for = batch, concurrency, retry_for
        self._stop = threading.Event()  # no request is sent again
        self._gone = ""  # why the server was given up
        self._lock = threading.Lock()
        self._told = False  # whether it was said that the server is away

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        self._transport.close()

    def ask(self, paths: Iterable[str]) -> Iterator[Answer]:
        """Yields what became of each image, in the order of `paths`, as soon as it is known.

        At most `2 * concurrency` batches of `paths` are ahead of what was yielded, and `concurrency` batches of images in
        memory. Once the server was away for `retry_for` seconds, it is given up and what is left of `paths` fails.
        """
        tasks: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self._concurrency):
            # Daemons, which an interrupted command need not wait for; those of `concurrent.futures` it would.
            threading.Thread(target=self._work, args=(tasks,), daemon=True).start()
        ahead: collections.deque[Future] = collections.deque()
        remaining = iter(paths)
        try:
            while batch := list(itertools.islice(remaining, self._batch)):
                ahead.append(Future())
                tasks.put((batch, ahead[-1]))
                while ahead and (ahead[0].done() or len(ahead) == _AHEAD * self._concurrency):
                    yield from self._counted(ahead.popleft().result())
            while ahead:
                yield from self._counted(ahead.popleft().result())
        finally:
            for _ in range(self._concurrency):
                tasks.put(None)

    def _counted(self, answers: list[Answer]) -> Iterator[Answer]:
        for answer in answers:
            self.tally.finished(failed=bool(answer.error))
            yield answer

    def _work(self, tasks: queue.SimpleQueue) -> None:
        while task := tasks.get():
            paths, future = task
            try:
                future.set_result(self._answers(paths))
            except BaseException as error:  # raised again where the answers are waited for
                future.set_exception(error)

    def _answers(self, paths: Sequence[str]) -> list[Answer]:
        """Returns the answers about a batch, in its order."""
        if self._stop.is_set():
            return [Answer(path, f"not sent, {self._gone or 'the session is closed'}") for path in paths]
        images, errors = {}, {}
        for place, path in enumerate(paths):  # by place, as a path may come twice
            try:
                images[place] = self._read(path)
            except (OSError, ValueError) as error:
                errors[place] = Answer(path, getattr(error, "strerror", None) or str(error))
        answers = dict(zip(images, self._asked([paths[place] for place in images], list(images.values())), strict=True))
        return [errors[place] if place in errors else answers[place] for place in range(len(paths))]

    def _asked(self, paths: Sequence[str], images: Sequence[bytes]) -> list[Answer]:
        if not images:
            return []
        try:
            outputs, seconds = self._persist(images)
            return read_answers(self._signature, paths, outputs, seconds)
        except AwayError as away:
            return [Answer(path, f"the server is away: {away}") for path in paths]
        except RefusedError as refusal:
            if len(paths) == 1 or not refusal.divisible:
                return [Answer(path, str(refusal)) for path in paths]
        half = len(paths) // 2
        return self._asked(paths[:half], images[:half]) + self._asked(paths[half:], images[half:])

    def _persist(self, images: Sequence[bytes]) -> tuple[dict[str, Sequence[Any]], float]:
        """Sends a request until the server answers or was away for too long."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AwayError),
            # Full jitter: the clients of a server that comes back do not all come at the same time.
            wait=tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT),
            stop=tenacity.stop_after_delay(self._retry_for) | tenacity.stop_when_event_set(self._stop),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=self._before_retry,
            reraise=True,
        )
        try:
            return retrying(self._send, images)
        except AwayError as away:
            # A server that is there, but does not manage this request, may manage others.
            if not self._stop.is_set() and not self._is_there():
                self._gone = f"the server is away: {away}"
                self._stop.set()
            raise

    def _is_there(self) -> bool:
        try:
            self._transport.states()
        except AwayError:
            return False
        except RefusedError:
            pass
        return True

    def _send(self, images: Sequence[bytes]) -> tuple[dict[str, Sequence[Any]], float]:
        started = time.monotonic()
        try:
            outputs = self._transport.predict(self._signature, images, OUTPUTS[self._signature])
        except RefusedError:
            self._hear(started)
            raise
        return outputs, self._hear(started)

    def _hear(self, started: float) -> float:
        seconds = time.monotonic() - started
        self._told = False
        self.tally.answered(seconds)
        return seconds

    def _before_retry(self, state: tenacity.RetryCallState) -> None:
        self.tally.retried()
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._say(f"The server is away ({state.outcome.exception()}); trying again for {self._retry_for:g} s.")
