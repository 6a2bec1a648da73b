"""An exported net behind the routes of TensorFlow Serving (the local server's), asked by the client: nothing is lost."""

import concurrent.futures
import contextlib
import hashlib
import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from bad_images import BAD
from local_server import serving, start
from run_folders import write_run
from small_images import ENCODED

from keras_vgg import client
from keras_vgg.remote.connection import connect
from keras_vgg.remote.protocol import Model
from keras_vgg.remote.session import Session
from keras_vgg.saved_model import export_saved_model

REQUESTS, PROTOCOLS = 200, ("grpc", "rest")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "letters")
    return export_saved_model(run, tmp_path_factory.mktemp("models") / "vgg", scales=(44,), flip=False, check=False)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(REQUESTS):
        (folder / f"{number:03}").write_bytes(ENCODED[number % len(ENCODED)])
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def expected(exported):
    """`(len(ENCODED), top_k)` scores, of the SavedModel without any server."""
    served = tf.saved_model.load(str(exported.path)).signatures
    return served["classify"](images=tf.constant(ENCODED))["scores"].numpy()


def assert_right(answers, paths, expected):
    assert [answer.path for answer in answers] == list(paths)  # each once, in order
    assert [answer.error for answer in answers] == [""] * len(paths)
    scores = np.array([[each.score for each in answer.top] for answer in answers])
    np.testing.assert_allclose(scores, expected[np.arange(len(paths)) % len(ENCODED)], atol=1e-5)


@pytest.fixture(scope="module")
def server(exported):
    """Takes its time, and messages of half a megabyte at the most."""
    with serving(exported.path.parent, delay=1, max_bytes=500_000) as addresses:
        yield addresses


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_hundred_requests_at_once(server, paths, expected, protocol):
    transport = connect(getattr(server, protocol), Model("vgg"), timeout=120, concurrency=REQUESTS)
    under_way, most, lock, predict = 0, 0, threading.Lock(), transport.predict

    def counted(*arguments):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            return predict(*arguments)
        finally:
            with lock:
                under_way -= 1

    transport.predict = counted
    with Session(transport, batch=1, concurrency=REQUESTS, retry_for=120) as session:
        answers = list(session.ask(paths))
    assert_right(answers, paths, expected)
    assert session.tally.report().requests == REQUESTS
    assert most > REQUESTS // 2


@pytest.mark.slow
def test_a_server_killed_and_started_again_midway(exported, paths, expected):
    """Asked over both protocols at once; it comes back once each has said that it is away."""
    with start(exported.path.parent, delay=0.1) as first, contextlib.ExitStack() as later:
        ports = {"grpc_port": first.grpc_port, "rest_port": first.rest_port}
        a_quarter, missed = threading.Event(), {name: threading.Event() for name in PROTOCOLS}
        sessions = []
        for name in PROTOCOLS:
            transport = connect(getattr(first, name), Model("vgg"), timeout=60, concurrency=8)
            settings = {"batch": 2, "concurrency": 8, "retry_for": 240}
            session = Session(transport, **settings, say=lambda line, event=missed[name]: event.set())
            sessions.append(later.enter_context(session))

        def take(session):
            answers = []
            for answer in session.ask(paths):
                answers.append(answer)
                if len(answers) == REQUESTS // 4:
                    a_quarter.set()
            return answers

        with concurrent.futures.ThreadPoolExecutor(len(sessions)) as aside:  # each by itself: neither waits for the other
            taken = [aside.submit(take, session) for session in sessions]
            assert a_quarter.wait(120)
            first.kill()  # with requests under way
            assert all(event.wait(120) for event in missed.values())
            later.enter_context(start(exported.path.parent, **ports))
        for session, answers in zip(sessions, taken, strict=True):
            assert_right(answers.result(), paths, expected)
            assert session.tally.report().retries > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bad_payloads_are_named_one_by_one(exported, server, tmp_path, capsys, protocol):
    contents = {name: content for name, (content, _) in BAD.items()} | {"oversized": bytes(600_000), "good": ENCODED[0]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    code = client.main(["--url", getattr(server, protocol), "--json", *(str(tmp_path / name) for name in contents)])
    told, failures = capsys.readouterr()
    answers = {line["image"].rpartition("/")[2]: line for line in map(json.loads, told.splitlines())}
    assert code == 2
    assert set(answers) == set(contents)
    for name, answer in answers.items():
        assert ("error" in answer) == (name != "good"), name
        assert name == "good" or f"{tmp_path / name}: " in failures
        assert answer["image sha256"] == (hashlib.sha256(contents[name]).hexdigest() if contents[name] else None)
    assert answers["good"]["net sha256"] == exported.card["net"]["sha256"]
    file = tmp_path / "features.npz"
    client.main(["--url", getattr(server, protocol), "--features", str(file), str(tmp_path / "good"), str(tmp_path / "oversized")])
    with np.load(file) as written:
        assert written["net_sha256"] == exported.card["net"]["sha256"]
        assert written["images_sha256"].tolist() == [hashlib.sha256(contents["good"]).hexdigest()]
    for name, (content, reason) in BAD.items():
        assert (reason if content else "empty file") in answers[name]["error"]
