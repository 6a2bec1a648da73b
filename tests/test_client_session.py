"""Batches, threads, retries and counts of the client, with a server that lives in the test."""

import array
import hashlib
import itertools
import threading
import time

import numpy as np
import pytest

from keras_vgg.remote import sending
from keras_vgg.remote.answers import NET, OUTPUTS
from keras_vgg.remote.latency import Tally, percentiles
from keras_vgg.remote.protocol import AwayError, RefusedError, Signatures, SlowError
from keras_vgg.remote.request_size import RequestSize
from keras_vgg.remote.session import Session


class Transport:
    """Answers about an image with its own content, a number in decimal digits, as label."""

    def __init__(self, predict=None):
        self.requests, self.closed, self.there, self.pinned = [], False, True, None
        self._before = predict or (lambda images: None)

    def states(self):
        if not self.there:
            raise AwayError("gone")
        return {1: "AVAILABLE"}

    def signatures(self):
        return Signatures(1, {"classify": {"scores": 2, "class_ids": 2, "class_names": 2, "error": None}})

    def pin(self, version):
        self.pinned = version

    def predict(self, signature, images, outputs):
        assert self.pinned == 1
        assert (signature, set(outputs) - {NET}) == ("classify", {"scores", "class_ids", "class_names", "error"})
        self.requests.append(tuple(map(int, images)))
        if (changed := self._before(list(map(int, images)))) is not None:
            return changed
        return answer_to(images)

    def close(self):
        self.closed = True


def answer_to(images, **changes):
    numbers = [int(image) for image in images]
    good = {
        "scores": [[0.5, 0.25] for _ in numbers],
        "class_ids": [[number, 0] for number in numbers],
        "class_names": [[f"class {number}", "none"] for number in numbers],
        "error": ["" for _ in numbers],
    }
    return good | changes


def ask(transport, paths, **settings):
    settings = {"batch": 4, "concurrency": 3, "retry_for": 5.0, "read": str.encode, **settings}
    with Session(transport, **settings) as session:
        answers = list(session.ask(paths))
    assert transport.closed
    return answers, session.tally.report()


def numbers(count):
    return [str(number) for number in range(count)]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(sending, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(sending, "_LONGEST_WAIT", 0.02)


def test_every_image_is_asked_about_once_in_batches():
    answers, report = ask(transport := Transport(), numbers(22))
    assert [(answer.path, answer.top[0].label, answer.error) for answer in answers] == [(str(n), n, "") for n in range(22)]
    assert sorted(transport.requests) == [tuple(range(first, min(first + 4, 22))) for first in range(0, 22, 4)]
    assert (report.requests, report.images, report.failed, report.retries) == (6, 22, 0, 0)


def test_no_images():
    answers, report = ask(Transport(), [])
    assert answers == []
    assert "p50 – per request" not in str(report)
    assert "0 requests, 0 images, 0 failed, 0 retries; p50 –, p95 –, p99 – per request" in str(report)


def test_one_path_may_come_twice():
    answers, _ = ask(Transport(), ["7", "7", "8", "7"])
    assert [answer.top[0].label for answer in answers] == [7, 7, 8, 7]


def test_requests_run_at_the_same_time_as_many_as_was_asked_for():
    barrier, most, running, lock = threading.Barrier(3), [0], [0], threading.Lock()

    def together(images):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        barrier.wait(10)  # ends only if three are here at once
        with lock:
            running[0] -= 1

    answers, _ = ask(Transport(together), numbers(36))
    assert not any(answer.error for answer in answers)
    assert most == [3]


def test_a_million_images_are_not_held():
    """However slow the first answer is, only so many of the others are taken from the iterator and read."""
    batch, concurrency, taken, read, slow = 4, 3, [], [], threading.Event()

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield str(number)

    def reading(path):
        read.append(path)
        return path.encode()

    def first_is_slow(images):
        if 0 in images:
            assert slow.wait(10)

    settings = {"batch": batch, "concurrency": concurrency, "read": reading}
    with Session(Transport(first_is_slow), **settings) as session:
        answers = session.ask(endless())
        timer = threading.Timer(0.5, slow.set)  # time enough for the others to run away
        timer.start()
        for given in range(200):
            assert next(answers).top[0].label == given
            assert len(taken) <= given + 1 + (2 * concurrency + 1) * batch
            assert len(read) <= len(taken)
        answers.close()
        timer.join()


def test_a_server_that_is_away_for_a_while_is_asked_again():
    failures, said = {}, []

    def twice_away(images):
        failures[images[0]] = failures.get(images[0], 0) + 1
        if failures[images[0]] <= 2:
            raise AwayError("connection refused")

    answers, report = ask(Transport(twice_away), numbers(12), concurrency=1, say=said.append)
    assert [answer.top[0].label for answer in answers] == list(range(12))
    assert (report.requests, report.retries, report.failed) == (3, 6, 0)
    assert said == ["The server is unavailable (connection refused); retrying for 5 s."] * 3  # it was back in between


def test_waits_grow_at_random_up_to_the_longest(monkeypatch):
    monkeypatch.setattr(sending, "_FIRST_WAIT", 0.2)
    monkeypatch.setattr(sending, "_LONGEST_WAIT", 5.0)
    waits = []

    def sleep(event):
        return lambda seconds: waits.append(seconds)

    monkeypatch.setattr(sending.tenacity, "sleep_using_event", sleep)
    monkeypatch.setattr(sending.tenacity, "stop_after_delay", sending.tenacity.stop_after_attempt)

    def away(images):
        raise AwayError("busy")

    _, report = ask(Transport(away), numbers(400), batch=1, concurrency=1, retry_for=11)
    by_attempt = np.array(waits).reshape(400, 10)
    assert report.retries == 4000
    for attempt, limit in enumerate((0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5)):
        assert 0.9 * limit < by_attempt[:, attempt].max() <= limit
        assert by_attempt[:, attempt].mean() == pytest.approx(limit / 2, rel=0.15)


def test_a_server_away_for_good_is_given_up_once():
    """Not after `retry_for` for each batch, and without sending or reading the rest."""
    read = []

    def reading(path):
        read.append(path)
        return path.encode()

    def away(images):
        if images[0] >= 8:
            transport.there = False
            raise AwayError("connection refused")

    transport, started = Transport(away), time.monotonic()
    answers, report = ask(transport, numbers(1000), concurrency=2, retry_for=0.4, read=reading)
    assert time.monotonic() - started < 5
    assert [answer.path for answer in answers] == numbers(1000)
    assert [answer.top[0].label for answer in answers[:8]] == list(range(8))
    assert {answer.error for answer in answers[8:]} == {
        "the server is unavailable: connection refused",
        "not sent, the server is unavailable: connection refused",
    }
    assert (report.images, report.failed) == (1000, 992)
    assert len(read) < 30


def test_one_request_that_never_is_answered_does_not_end_the_others():
    def stuck(images):
        if 5 in images:
            raise AwayError("no response within 60 s")

    answers, report = ask(Transport(stuck), numbers(40), concurrency=1, retry_for=0.1)
    assert [answer.path for answer in answers if answer.error] == ["4", "5", "6", "7"]
    assert report.failed == 4


@pytest.mark.parametrize("bad", [{3}, {0, 7}, set(range(8)), {1, 2, 9}])
def test_what_is_refused_is_halved_down_to_the_images_at_fault(bad):
    def refuse(images):
        if bad & set(images):
            raise RefusedError("too large", divisible=True)

    answers, report = ask(Transport(refuse), numbers(12), batch=8)
    assert [answer.path for answer in answers] == numbers(12)
    assert {int(answer.path) for answer in answers if answer.error == "too large"} == bad
    assert all(answer.top[0].label == int(answer.path) for answer in answers if int(answer.path) not in bad)
    assert (report.failed, report.retries) == (len(bad), 0)


def test_what_no_smaller_request_would_mend_is_not_halved():
    def refuse(images):
        raise RefusedError("404 Not Found")

    answers, _ = ask(transport := Transport(refuse), numbers(8))
    assert [answer.error for answer in answers] == ["404 Not Found"] * 8
    assert sorted(transport.requests) == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_what_takes_too_long_is_halved_and_the_size_that_worked_is_kept():
    def slow(images):
        if len(images) > 3:
            raise SlowError("no response within 1 s")

    answers, report = ask(transport := Transport(slow), numbers(48), batch=8, concurrency=1)
    assert [answer.top[0].label for answer in answers] == list(range(48))
    assert [len(request) for request in transport.requests] == [8, 4] + [2] * 24  # 16 and more answers before four are tried again
    assert (report.failed, report.retries) == (0, 0)


def test_one_image_that_takes_too_long_does_not_take_others_with_it():
    def slow(images):
        if 5 in images:
            raise SlowError("no response within 1 s")

    answers, report = ask(transport := Transport(slow), numbers(400), batch=4, concurrency=1)
    assert {answer.path: answer.error for answer in answers if answer.error} == {"5": "no response within 1 s"}
    assert transport.requests.count((5,)) == 3
    assert report.retries == 2
    assert len(transport.requests[-1]) == 4  # it has found back to large requests


def test_a_server_too_slow_for_every_image_is_given_up_soon():
    def slow(images):
        raise SlowError("no response within 1 s")

    answers, _ = ask(transport := Transport(slow), numbers(1000), batch=8, concurrency=1)
    assert len(transport.requests) == 3 + 3 * 3  # 8, 4 and 2 images, and three single ones three times
    assert {answer.error for answer in answers[3:]} == {
        "not sent, the server is too slow even for single images: no response within 1 s"
    }


def test_what_takes_too_long_as_the_server_is_dead_is_not_halved():
    def dead(images):
        transport.there = False
        raise SlowError("no response within 1 s")

    answers, _ = ask(transport := Transport(dead), numbers(100), batch=8, concurrency=1, retry_for=0.1)
    assert set(transport.requests) == {tuple(range(8))}
    assert {answer.error for answer in answers} == {
        "the server is unavailable: no response within 1 s",
        "not sent, the server is unavailable: no response within 1 s",
    }


def test_request_sizes():
    size = RequestSize(8)
    for _ in range(4):
        size.too_slow(8)  # of four requests at once
    assert size.now == 4
    for count, now in ((15, 4), (1, 8)):
        for _ in range(count):
            size.in_time(2)  # proves nothing
            size.in_time(4)
        assert size.now == now
    for images in (8, 4, 2, 1):
        size.too_slow(images)
    assert size.now == 1


def missing_from(first):
    def missing(images):
        if images[0] >= first():
            raise RefusedError("NOT_FOUND: Servable not found for request: Specific(vgg, 1)", missing=True)

    return missing


def test_another_net_under_the_number_of_the_version_ends_the_session():
    def answer(images):
        return answer_to(map(str, images), net_sha256=["old" if images[0] < 8 else "new"] * len(images))

    said, transport = [], Transport(answer)
    transport.signatures = lambda: Signatures(1, {"classify": dict.fromkeys((*OUTPUTS["classify"], NET))})
    answers, report = ask(transport, numbers(400), concurrency=1, say=said.append)
    assert {answer.net_sha256 for answer in answers[:8]} == {"old"}
    reason = "the server now has another net as version 1"
    assert {answer.error.removeprefix("not sent, ") for answer in answers[8:]} == {reason}
    assert (len(transport.requests), report.failed) == (3, 392)
    assert said == [f"T{reason[1:]}. All results are from the original net; send images without a result again."]


def test_a_version_that_was_let_go_ends_the_session():
    said, transport = [], Transport(missing_from(lambda: 8))
    transport.states = lambda: {1: "END", 2: "AVAILABLE"}
    answers, report = ask(transport, numbers(400), concurrency=3, say=said.append)
    assert [answer.top[0].label for answer in answers[:8]] == list(range(8))
    assert {answer.error.removeprefix("not sent, ") for answer in answers[8:]} == {"the server no longer serves version 1"}
    assert len(transport.requests) <= 5  # two answered, and what was under way
    assert report.failed == 392
    assert said == [
        "The server no longer serves version 1 (available: 2). All results are from version 1; send images without a result again."
    ]


@pytest.mark.parametrize("state", ["START", "LOADING"])
def test_a_version_that_a_server_is_about_to_load_is_waited_for(state):
    looks = []

    def states():
        looks.append(state)
        return {1: state}

    transport = Transport(missing_from(lambda: 4 if len(looks) < 3 else 1000))
    transport.states = states
    answers, report = ask(transport, numbers(12), concurrency=1)
    assert [answer.top[0].label for answer in answers] == list(range(12))
    assert (report.failed, report.retries) == (0, 3)


def test_what_cannot_be_read_is_not_sent():
    def read(path):
        if path == "2":
            raise PermissionError(13, "Permission denied")
        if path == "3":
            raise ValueError("empty file")
        return path.encode()

    answers, _ = ask(transport := Transport(), numbers(5), batch=3, read=read)
    assert [answer.error for answer in answers] == ["", "", "Permission denied", "empty file", ""]
    assert [answer.top[0].label for answer in answers if not answer.error] == [0, 1, 4]
    of_images = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5)]
    assert [answer.image_sha256 for answer in answers] == [*of_images[:2], "", "", of_images[4]]
    assert sorted(transport.requests) == [(0, 1), (4,)]


def test_answers_that_make_no_sense():
    changes = {
        0: {"scores": [[float("nan"), 0.1]]},
        1: {"error": ["two\nlines"], "scores": [[float("nan"), float("nan")]]},
        2: {"class_ids": [[1, 2], [3, 4]]},
        3: {"class_ids": [["first", 2]]},
        4: {"scores": [0.5]},
        5: {"scores": [[0.5, 0.3, 0.2]]},
        6: {"scores": 0.5},
    }
    answers, _ = ask(Transport(lambda images: answer_to(images, **changes.get(images[0], {}))), numbers(8), batch=1)
    assert [answer.error for answer in answers] == [
        "the model's scores are not finite",
        "two lines",
        "the server returned 2 rows of 'class_ids' for 1 images",
        "the response is not in keras_vgg's format: invalid literal for int() with base 10: 'first'",
        "the response is not in keras_vgg's format: object of type 'float' has no len()",
        "the server returned 3 values of 'scores' for an image, but version 1 announced 2",
        "the server returned no rows of 'scores' for 1 images",
        "",
    ]


def test_a_bug_is_not_taken_for_a_failure_of_the_server():
    def bug(images):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        ask(Transport(bug), numbers(8))


def test_threads_end_with_the_session():
    before = set(threading.enumerate())
    ask(Transport(), numbers(8))
    with Session(Transport(), read=str.encode) as session:
        next(session.ask(numbers(100)))  # and no more
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_percentiles_by_hand():
    # Of 1, 2, …, 101 ms the percentiles are 51, 96 and 100; of 10 and 20 ms they lie between.
    assert percentiles(array.array("d", [n / 1000 for n in range(101, 0, -1)])) == pytest.approx({50: 51, 95: 96, 99: 100})
    assert percentiles(array.array("d", [0.02, 0.01])) == pytest.approx({50: 15, 95: 19.5, 99: 19.9})
    assert percentiles(array.array("d", [0.007])) == pytest.approx({50: 7, 95: 7, 99: 7})
    spans = np.random.default_rng(0).exponential(size=1000)
    wanted = dict(zip((50, 95, 99), 1000 * np.percentile(spans, (50, 95, 99)), strict=True))
    assert percentiles(array.array("d", spans)) == pytest.approx(wanted)


def test_report():
    tally = Tally()
    for milliseconds in range(101):
        tally.answered(milliseconds / 1000)
    for number in range(30):
        tally.finished(failed=number < 10)
    tally.retried()
    report = tally.report()
    assert str(report).startswith(
        "101 requests, 30 images, 10 failed, 1 retries; p50 50.0 ms, p95 95.0 ms, p99 99.0 ms per request; "
    )
    assert report.images_per_second > 20  # twenty answers, in less than a second
