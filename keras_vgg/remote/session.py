"""Asks about any number of images: in batches, several at once, again where the server was away, and with bounded memory.

Each image comes to exactly one end, an answer or an error. A request that the server refuses, or does not answer in time, is cut
in halves, down to single images, so that an image at fault does not take others with it. All answers are of one version of the
model and of one net, whatever the server takes up meanwhile; if it lets that go, the session ends.
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

_AHEAD = 2  # batches under way or waiting to be given out, for each request at once


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
        signature: one of `answers.OUTPUTS`.
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
        self._model, self._size = PinnedModel(transport, signature), RequestSize(batch)
        self._sender = Sender(self._model, tally=self.tally, size=self._size, retry_for=retry_for, say=say)
        self._batch, self._concurrency, self._read = batch, concurrency, read

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._sender.close()
        self._model.close()

    def pin(self, served: Signatures) -> None:
        """Asks only the version that was looked at, and holds its answers against what was seen then."""
        self._model.pin(served)

    def ask(self, paths: Iterable[str]) -> Iterator[Answer]:
        """Yields what became of each image, in the order of `paths`, as soon as it is known.

        At most `2 * concurrency` batches of `paths` are ahead of what was yielded, and `concurrency` batches of images in
        memory. Once the server was away for `retry_for` seconds, it is given up and what is left of `paths` fails; so it does
        once the server has let go of the version asked, which is the one of `pin` or what the server gives at the start, or has
        another net under its number.

        Raises:
            AwayError: if there is no version yet, and the server does not tell one.
            RefusedError: if there is no version yet, and the server has none.
        """
        self._model.pin()
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
        if self._sender.is_over:
            return self._unsent(paths)
        images, answers = {}, {}
        for place, path in enumerate(paths):  # by place, as a path may come twice
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
                return [Answer(path, f"the server is away: {away}") for path in paths]
            except RefusedError as refusal:
                if len(paths) == 1 or not refusal.divisible:
                    return [Answer(path, self._sender.gone or str(refusal)) for path in paths]
        half = len(paths) // 2
        return self._asked(paths[:half], images[:half]) + self._asked(paths[half:], images[half:])
