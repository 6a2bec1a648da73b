"""Servers that answer anything at all: one line for each image, bounded time and memory, and the run goes on."""

import gzip
import http.server
import json
import threading
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_vgg.remote import grpc_transport, rest_transport
from keras_vgg.remote.connection import connect
from keras_vgg.remote.protocol import MOST_BYTES, Model, RefusedError, SlowError
from keras_vgg.remote.session import Session

STATES = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
WIDTHS = {"scores": 2, "class_ids": 2, "class_names": 2, "error": None}
METADATA = {
    "model_spec": {"name": "vgg", "version": "1"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "classify": {
                    "outputs": {
                        name: {"tensor_shape": {"dim": [{"size": "-1"}] + ([{"size": str(width)}] if width else [])}}
                        for name, width in WIDTHS.items()
                    }
                }
            }
        }
    },
}
ROW = {"scores": [[0.75, 0.25]], "class_ids": [[1, 0]], "class_names": [["one", "zero"]], "error": [""]}


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers with what `server.states`, `server.metadata` and `server.outputs` hold, or with raw bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.server.metadata if self.path.endswith("metadata") else self.server.states)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.server.outputs)

    def answer(self, content):
        if callable(content):
            content(self)
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def odd():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        server.daemon_threads = True
        server.states, server.metadata, server.outputs = STATES, METADATA, {"outputs": ROW}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def transport(server, timeout=5):
    return connect(f"http://127.0.0.1:{server.server_port}", Model(), timeout=timeout, concurrency=1)


def answers(server, count=2, signature="classify", timeout=5):
    with Session(transport(server, timeout), signature=signature, batch=1, concurrency=1, read=str.encode, retry_for=0) as session:
        return list(session.ask(map(str, range(count))))


def test_a_usual_answer(odd):
    for answer in answers(odd):
        assert (answer.error, [(each.name, each.label, each.score) for each in answer.top]) == (
            "",
            [("one", 1, 0.75), ("zero", 0, 0.25)],
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": [[5, 0.1]]}, "expected a score from 0 to 1, received 5"),
        ({"scores": [[-1, 0.1]]}, "expected a score from 0 to 1, received -1"),
        ({"scores": [[1e40, 0.1]]}, "expected a score from 0 to 1"),
        ({"scores": [[float("inf"), 0.1]]}, "the model's scores are not finite"),
        ({"scores": [[None, 0.1]]}, "the response is not in keras_vgg's format"),
        ({"scores": [["high", 0.1]]}, "the response is not in keras_vgg's format"),
        ({"scores": [[[0.5], [0.5]]]}, "the response is not in keras_vgg's format"),
        ({"scores": [{"0": 1, "1": 2}]}, "the response is not in keras_vgg's format"),
        ({"scores": {"0": [0.5, 0.5]}}, "the response is not in keras_vgg's format"),
        ({"scores": None}, "the server returned no rows of 'scores'"),
        ({"class_ids": [[float("inf"), 0]]}, "the response is not in keras_vgg's format"),
        ({"class_ids": [[1.5, 0]]}, "expected a whole number from 0 on, received 1.5"),
        ({"class_ids": [[10**30, 0]]}, "expected a whole number from 0 on"),
        ({"class_ids": [[-7, 0]]}, "expected a whole number from 0 on, received -7"),
        ({"class_names": [[{"a": 1}, ["b"]]]}, "the response is not in keras_vgg's format"),
        ({"class_names": [[None, 3]]}, "the response is not in keras_vgg's format"),
        ({"error": [7]}, "the response is not in keras_vgg's format"),
        ({"error": [None]}, "the response is not in keras_vgg's format"),
    ],
)
def test_values_of_another_kind_are_errors_of_their_images(change, told, odd):
    odd.outputs = {"outputs": ROW | change}
    for answer in answers(odd):
        assert told in answer.error
        assert answer.error.isprintable()


def test_missing_outputs_and_another_layout(odd):
    for outputs, told in (
        ({"outputs": {name: rows for name, rows in ROW.items() if name != "scores"}}, "no 'scores' in"),
        ({"outputs": [1, 2]}, "no 'scores' in [1, 2]"),
        ({"predictions": []}, "no 'outputs' in"),
        (7, "no 'outputs' in 7"),
        (b"[" * 100_000, "its JSON is too deep"),
        (b"1" * 5000, "not"),
        (b"\xff\xfe\x00", "the response is not JSON"),
    ):
        odd.outputs = outputs
        assert [told in answer.error for answer in answers(odd)] == [True, True]


def test_class_names_and_messages_are_printable(odd):
    odd.outputs = {"outputs": ROW | {"class_names": [["\x1b[2J\x1b]0;title\x07red", "a\nb"]]}}
    assert [[each.name for each in answer.top] for answer in answers(odd, 1)] == [["[2J ]0;title red", "a b"]]
    odd.outputs = {"outputs": ROW | {"error": ["\x1b[31mred"]}}
    assert answers(odd, 1)[0].error == "[31mred"


@pytest.mark.parametrize(
    "states",
    [
        {"model_version_status": [{"version": "one", "state": "AVAILABLE"}]},
        {"model_version_status": [{"version": None, "state": "AVAILABLE"}]},
        {"model_version_status": [{"version": "1"}]},
        {"model_version_status": [{"version": "1", "state": 3}]},
        {"model_version_status": [7]},
        {"model_version_status": 7},
        {"model_version_status": [{"version": 1e400, "state": "AVAILABLE"}]},
    ],
)
def test_odd_states_are_refused(states, odd):
    odd.states = states
    with pytest.raises(RefusedError, match=r"^the response is not TensorFlow Serving's: "):
        transport(odd).states()


@pytest.mark.parametrize("dims", [[{"size": "many"}], [{}], [7], 7, [{"size": None}]])
def test_odd_metadata_is_refused(dims, odd):
    signature = {"outputs": {"scores": {"tensor_shape": {"dim": dims}}}}
    odd.metadata = METADATA | {"metadata": {"signature_def": {"signature_def": {"classify": signature}}}}
    with pytest.raises(RefusedError, match=r"^the response is not TensorFlow Serving's: "):
        transport(odd).signatures()


def drip_body(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    drip(handler)


def drip(handler):
    """A byte now and then, each in time."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("drip", [drip, drip_body])
def test_an_answer_that_drips_is_given_up(drip, odd):
    odd.states = drip
    start = time.monotonic()
    with pytest.raises(SlowError, match=r"^no complete response within 0\.6 s$"):
        transport(odd, timeout=0.3).states()
    assert time.monotonic() - start < 5


def test_an_answer_without_end_is_given_up(odd, monkeypatch):
    monkeypatch.setattr(rest_transport, "MOST_BYTES", 10**6)

    def endless(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**10))
        handler.end_headers()
        for _ in range(10**5):
            try:
                handler.wfile.write(bytes(2**16))
            except OSError:
                return

    odd.states = endless
    with pytest.raises(RefusedError, match="more than 1,000,000 bytes"):
        transport(odd).states()


def test_an_answer_that_unpacks_without_end_takes_little_memory(odd, monkeypatch):
    monkeypatch.setattr(rest_transport, "MOST_BYTES", 10**6)
    packed = gzip.compress(bytes(3 * 10**8))

    def bomb(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed)

    odd.states = bomb
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="more than 1,000,000 bytes"):
            transport(odd).states()
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()


def test_arrays_over_grpc_have_a_value_for_each_element():
    whole = tf.make_tensor_proto(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(grpc_transport._values("a", {"a": whole}), np.arange(6).reshape(2, 3))
    texts = tf.make_tensor_proto([b"one", b"\xff"])
    assert grpc_transport._values("a", {"a": texts}).tolist() == ["one", "\ufffd"]
    huge = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])  # one value for a shape of terabytes
    for size in (10**6, 10**6):
        huge.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match="has 1 values"):
        grpc_transport._values("a", {"a": huge})
    negative = tensor_pb2.TensorProto(dtype=1)
    negative.tensor_shape.dim.add(size=-1)
    with pytest.raises(ValueError, match="shape"):
        grpc_transport._values("a", {"a": negative})
    with pytest.raises(TypeError):
        grpc_transport._values("a", {"a": tensor_pb2.TensorProto()})
    with pytest.raises(KeyError):
        grpc_transport._values("b", {"a": whole})


def test_over_grpc_larger_messages_are_refused():
    assert dict(grpc_transport._OPTIONS)["grpc.max_receive_message_length"] == MOST_BYTES
