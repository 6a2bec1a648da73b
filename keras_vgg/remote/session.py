"""Asks about any number of images: in batches, several at once, again where the server was away, and with bounded memory.

Each image comes to exactly one end, an answer or an error. A request that the server refuses, or does not answer in time, is cut
in halves, down to single images, so that an image at fault does not take others with it. All answers are of one version of the
model, whatever the server takes up meanwhile; if it lets that version go, the session ends.
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
from keras_vgg.remote.protocol import AwayError, RefusedError, Signatures, SlowError, Transport
from keras_vgg.remote.request_size import RequestSize

_AHEAD = 2  # batches under way or waiting to be given out, for each request at once
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds
_SLOW_TRIES = 3  # times that a single image is sent to a server that is there, but does not answer in time
_SLOW_IMAGES = 3  # images without an answer in time, and no answer in between, after which the server is given up
_COMING = {"START", "LOADING"}  # states of a version that will be there


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
        batch: images in a request, at most.
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
        self._size = RequestSize(batch)
        self._slow_images = 0  # since the last answer
        self._served: Signatures | None = None
        self._stop = threading.Event()  # no request is sent again
        self._gone = ""  # why nothing is asked any more
        self._lock = threading.Lock()
        self._told = False  # whether it was said that the server is away

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        self._transport.close()

    def pin(self, served: Signatures) -> None:
        """Asks only the version that was looked at, and holds its answers against what was seen then."""
        self._served = served
        self._transport.pin(served.version)

    def ask(self, paths: Iterable[str]) -> Iterator[Answer]:
        """Yields what became of each image, in the order of `paths`, as soon as it is known.

        At most `2 * concurrency` batches of `paths` are ahead of what was yielded, and `concurrency` batches of images in
        memory. Once the server was away for `retry_for` seconds, it is given up and what is left of `paths` fails; so it does
        once the server has let go of the version asked, which is the one of `pin` or what the server gives at the start.

        Raises:
            AwayError: if there is no version yet, and the server does not tell one.
            RefusedError: if there is no version yet, and the server has none.
        """
        if self._served is None:
            self.pin(self._transport.signatures())
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
            return self._unsent(paths)
        images, errors = {}, {}
        for place, path in enumerate(paths):  # by place, as a path may come twice
            try:
                images[place] = self._read(path)
            except (OSError, ValueError) as error:
                errors[place] = Answer(path, getattr(error, "strerror", None) or str(error))
        answers = dict(zip(images, self._asked([paths[place] for place in images], list(images.values())), strict=True))
        return [errors[place] if place in errors else answers[place] for place in range(len(paths))]

    def _unsent(self, paths: Sequence[str]) -> list[Answer]:
        return [Answer(path, f"not sent, {self._gone or 'the session is closed'}") for path in paths]

    def _asked(self, paths: Sequence[str], images: Sequence[bytes]) -> list[Answer]:
        if not images:
            return []
        if self._stop.is_set():
            return self._unsent(paths)
        if len(images) <= self._size.now:
            try:
                outputs, seconds = self._persist(images)
                return read_answers(self._signature, paths, outputs, seconds, self._served)
            except SlowError as slow:
                if len(paths) == 1:
                    return [Answer(paths[0], str(slow))]
            except AwayError as away:
                return [Answer(path, f"the server is away: {away}") for path in paths]
            except RefusedError as refusal:
                if len(paths) == 1 or not refusal.divisible:
                    return [Answer(path, self._gone or str(refusal)) for path in paths]
        half = len(paths) // 2
        return self._asked(paths[:half], images[:half]) + self._asked(paths[half:], images[half:])

    def _persist(self, images: Sequence[bytes]) -> tuple[dict[str, Sequence[Any]], float]:
        """Sends a request until the server answers, is too slow for it, or was away for too long."""
        retrying = tenacity.Retrying(
            # Several images that take too long are not sent together again.
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, AwayError) and not (isinstance(error, SlowError) and len(images) > 1)
            ),
            # Full jitter: the clients of a server that comes back do not all come at the same time.
            wait=tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT),
            stop=tenacity.stop_any(
                tenacity.stop_after_delay(self._retry_for), tenacity.stop_when_event_set(self._stop), _was_slow_too_often
            ),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=self._before_retry,
            reraise=True,
        )
        try:
            return retrying(self._send, images)
        except SlowError as slow:  # by a server that is there
            self._size.too_slow(len(images))
            if len(images) == 1:
                self._count_slow_image(slow)
            raise
        except AwayError as away:
            # A server that is there, but does not manage this request, may manage others.
            if not self._stop.is_set() and not self._is_there():
                self._give_up(f"the server is away: {away}")
            raise

    def _count_slow_image(self, slow: SlowError) -> None:
        with self._lock:
            self._slow_images += 1
            hopeless = self._slow_images >= _SLOW_IMAGES
        if hopeless:
            self._give_up(f"the server is too slow even for single images: {slow}")

    def _give_up(self, reason: str) -> bool:
        """Lets nothing be sent any more; returns whether this is the first reason for it."""
        with self._lock:
            if self._stop.is_set():
                return False
            self._gone = reason
            self._stop.set()
            return True

    def _is_there(self) -> bool:
        try:
            self._transport.states()
        except AwayError:
            return False
        except RefusedError:  # an answer, too
            return True
        return True

    def _look_again(self) -> None:
        """Ends the session if the server has let go of the version asked; `AwayError` if it is about to have it."""
        try:
            states = self._transport.states()
        except RefusedError:
            states = {}
        version = self._served.version
        state = states.get(version)
        if state in _COMING:
            raise AwayError(f"version {version} is {state}")
        if state != "AVAILABLE" and self._give_up(f"the server no longer serves version {version}"):
            others = ", ".join(str(each) for each, state in sorted(states.items()) if state == "AVAILABLE") or "none"
            self._say(
                f"The server no longer serves version {version} (it has: {others}). All answers are of version {version}; "
                "ask again about images without one."
            )

    def _send(self, images: Sequence[bytes]) -> tuple[dict[str, Sequence[Any]], float]:
        started = time.monotonic()
        try:
            outputs = self._transport.predict(self._signature, images, OUTPUTS[self._signature])
        except RefusedError as refusal:
            self._hear(started)
            if refusal.missing:
                self._look_again()
            raise
        except SlowError as slow:
            if not self._is_there():
                raise AwayError(str(slow)) from slow
            raise
        seconds = self._hear(started)
        self._size.in_time(len(images))
        self._slow_images = 0
        return outputs, seconds

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
            error = state.outcome.exception()
            what = "slow" if isinstance(error, SlowError) else "away"
            self._say(f"The server is {what} ({error}); trying again for {self._retry_for:g} s.")


def _was_slow_too_often(state: tenacity.RetryCallState) -> bool:
    return isinstance(state.outcome.exception(), SlowError) and state.attempt_number >= _SLOW_TRIES
