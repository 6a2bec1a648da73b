"""Queries a model about any number of images: in concurrent batches, with retries and bounded memory.

Each image ends in exactly one result or error. A request that the server refuses or does not answer in time is halved, down to
single images, so that one bad image does not affect others. All results are from one version of the model and one net, whatever
the server loads meanwhile; if the server unloads that version, the session ends.
"""

import collections
import dataclasses
import hashlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

from keras_vgg.remote.answers import Answer, read_answers
from keras_vgg.remote.latency import Tally
from keras_vgg.remote.pinned import PinnedModel
from keras_vgg.remote.protocol import AwayError, RefusedError, Signatures, SlowError, Transport
from keras_vgg.remote.request_size import RequestSize
from keras_vgg.remote.sending import Sender

_AHEAD = 2  # batches in progress or waiting to be yielded, per concurrent request


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
    """Queries a served model about images.

    Args:
        transport: the connection to the model; closed with the session.
        signature: one of `answers.OUTPUTS`.
        batch: maximum number of images per request.
        concurrency: number of concurrent requests.
        retry_for: seconds to retry a request while the server is unavailable.
        read: returns the encoded image for a path; its `OSError` and `ValueError` become the image's error.
        say: called with a line when the server is unavailable.

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
        self._model, self._size = PinnedModel(transport, signature), RequestSize(batch)
        self._sender = Sender(self._model, tally=self.tally, size=self._size, retry_for=retry_for, say=say)
        self._batch, self._concurrency, self._read = batch, concurrency, read

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._sender.close()
        self._model.close()

    def pin(self, served: Signatures) -> None:
        """Queries only this version, and checks its responses against it."""
        self._model.pin(served)

    def ask(self, paths: Iterable[str]) -> Iterator[Answer]:
        """Yields the result for each image, in the order of `paths`, as soon as it is known.

        At most `2 * concurrency` batches of `paths` are read ahead, and at most `concurrency` batches of images are in memory.
        The remaining `paths` fail once the server was unavailable for `retry_for` seconds, has unloaded the version (that of
        `pin`, or the server's at the start), or has another net under its number.

        Raises:
            AwayError: if no version is pinned yet, and the server does not return one.
            RefusedError: if no version is pinned yet, and the server has none.
        """
        self._model.pin()
        tasks: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self._concurrency):
            # Daemon threads, so that an interrupted command does not wait for them, as it would with `concurrent.futures`.
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
            except BaseException as error:  # raised again where the results are awaited
                future.set_exception(error)

    def _answers(self, paths: Sequence[str]) -> list[Answer]:
        """Returns the results for a batch, in its order."""
        if self._sender.is_over:
            return self._unsent(paths)
        images, answers = {}, {}
        for place, path in enumerate(paths):  # by position, as a path may occur twice
            try:
                images[place] = self._read(path)
            except (OSError, ValueError) as error:
                answers[place] = Answer(path, getattr(error, "strerror", None) or str(error))
        asked = self._asked([paths[place] for place in images], list(images.values()))
        for (place, image), answer in zip(images.items(), asked, strict=True):
            answers[place] = dataclasses.replace(answer, image_sha256=hashlib.sha256(image).hexdigest())
        return [answers[place] for place in range(len(paths))]

    def _unsent(self, paths: Sequence[str]) -> list[Answer]:
        return [Answer(path, f"not sent, {self._sender.gone or 'the session is closed'}") for path in paths]

    def _asked(self, paths: Sequence[str], images: Sequence[bytes]) -> list[Answer]:
        if not images:
            return []
        if self._sender.is_over:
            return self._unsent(paths)
        if len(images) <= self._size.now:
            try:
                outputs, seconds = self._sender.send(images)
                return read_answers(self._model.signature, paths, outputs, seconds, self._model.served)
            except SlowError as slow:
                if len(paths) == 1:
                    return [Answer(paths[0], str(slow))]
            except AwayError as away:
                return [Answer(path, f"the server is unavailable: {away}") for path in paths]
            except RefusedError as refusal:
                if len(paths) == 1 or not refusal.divisible:
                    return [Answer(path, self._sender.gone or str(refusal)) for path in paths]
        half = len(paths) // 2
        return self._asked(paths[:half], images[:half]) + self._asked(paths[half:], images[half:])
