"""The two ways to a served model: what they send, what they take for an answer, and which failures may pass."""

import http.server
import threading

import local_server
import numpy as np
import pytest
import requests
import small_served_model

from keras_vgg.local_serving.servable import Servable
from keras_vgg.local_serving.status import Code, StatusError
from keras_vgg.local_serving.versions import Versions
from keras_vgg.remote.connection import connect
from keras_vgg.remote.protocol import AwayError, Model, RefusedError, SlowError

PROTOCOLS = ("grpc", "rest")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with local_server.serving(small_served_model.save(tmp_path_factory.mktemp("models")), labels=("canary",)) as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(params=PROTOCOLS)
def to(request, server):
    """Gives transports to the server by one protocol."""
    opened = []

    def to(model=Model(), timeout=20.0):  # noqa: B008 (it is frozen)
        opened.append(connect(getattr(server, request.param), model, timeout=timeout, concurrency=1))
        return opened[-1]

    to.protocol = request.param
    yield to
    for transport in opened:
        transport.close()


def test_what_a_model_is_like(to):
    assert to().states() == {2: "AVAILABLE"}
    signatures = to().signatures()
    assert signatures.version == 2
    top, classes = small_served_model.TOP, len(small_served_model.NAMES)
    assert signatures.outputs == {
        "classify": {"probabilities": classes, "scores": top, "class_ids": top, "class_names": top, "error": None},
        "features": {"features": small_served_model.FEATURES, "error": None},
        "serving_default": {"probabilities": classes},
    }


@pytest.mark.parametrize("model", [Model(version=2), Model(label="canary")])
def test_version_and_label_go_along(model, to):
    outputs = to(model).predict("features", [b"no image"], ("error",))
    assert list(outputs["error"]) == [small_served_model.NO_IMAGE]


def test_over_grpc_only_what_is_looked_at_is_sent(to, monkeypatch):
    asked, predict = [], Servable.predict

    def spy(servable, signature, inputs, output_filter=()):
        asked.append(output_filter)
        return predict(servable, signature, inputs, output_filter)

    monkeypatch.setattr(Servable, "predict", spy)
    outputs = to().predict("classify", [b"no image"], ("class_ids", "error"))
    assert outputs.keys() == {"class_ids", "error"}
    assert asked == [{"grpc": ("class_ids", "error"), "rest": ()}[to.protocol]]  # REST knows no filter


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Model("vgg19"), r"Servable not found for request: Latest\(vgg19\)"),
        (Model(version=7), r"Servable not found for request: Specific\(vgg, 7\)"),
        (Model(label="stable"), "Unrecognized servable version label: stable"),
    ],
)
def test_what_is_not_there_is_refused(model, told, to):
    transport = to(model)
    for ask in (transport.signatures, lambda: transport.predict("classify", [b"no image"], ("error",))):
        with pytest.raises(RefusedError, match=told):
            ask()


@pytest.mark.parametrize(
    ("code", "over_grpc", "over_rest"),
    [
        ("UNAVAILABLE", "away", "away"),
        ("DEADLINE_EXCEEDED", "slow", "slow"),
        ("CANCELLED", "away", "away"),
        ("RESOURCE_EXHAUSTED", "divisible", "divisible"),
        ("INVALID_ARGUMENT", "divisible", "divisible"),
        ("INTERNAL", "divisible", "divisible"),
        ("NOT_FOUND", "missing", "missing"),
        ("FAILED_PRECONDITION", "final", "divisible"),  # both 400
    ],
)
def test_which_failures_may_pass(code, over_grpc, over_rest, to, monkeypatch):
    def fail(*args):
        raise StatusError(Code[code], "because\nof this")

    monkeypatch.setattr(Servable, "predict", fail)
    expected = {"grpc": over_grpc, "rest": over_rest}[to.protocol]
    with pytest.raises((AwayError, RefusedError)) as raised:
        to().predict("classify", [b"no image"], ("error",))
    assert "because of this" in str(raised.value) or code == "DEADLINE_EXCEEDED"
    assert "\n" not in str(raised.value)
    assert _kind(raised.value) == expected


def _kind(error):
    if isinstance(error, AwayError):
        return "slow" if isinstance(error, SlowError) else "away"
    return "divisible" if error.divisible else "missing" if error.missing else "final"


def test_an_address_without_a_host_is_away_and_not_slow(monkeypatch):
    def request(*args, **kwargs):
        raise requests.exceptions.ConnectTimeout("no connection")

    monkeypatch.setattr(requests.Session, "request", request)
    with pytest.raises(AwayError, match=r"^no connection within 5 s$") as raised:
        connect("http://127.0.0.1:1", Model(), timeout=5, concurrency=1).predict("classify", [b""], ("error",))
    assert not isinstance(raised.value, SlowError)


def test_an_answer_of_another_version_is_refused_over_grpc(server, monkeypatch):
    monkeypatch.setattr(Servable, "version", property(lambda self: 9, lambda self, value: None), raising=False)
    transport = connect(server.grpc, Model(version=2), timeout=20, concurrency=1)
    monkeypatch.setattr(Versions, "find", lambda versions, spec: versions.newest)
    with pytest.raises(RefusedError, match=r"^version 9 answered a request for version 2$"):
        transport.predict("features", [b"no image"], ("error",))
    transport.close()


def test_messages_may_be_large(to, monkeypatch):
    """gRPC by itself takes answers up to 4 MB only."""
    image = np.random.default_rng(0).bytes(6_000_000)

    def predict(servable, signature, inputs, output_filter=()):
        assert inputs["images"].numpy().tolist() == [image, image]
        return {"features": np.arange(2_400_000, dtype=np.float32).reshape(2, -1), "error": np.array([b"", b""], object)}

    monkeypatch.setattr(Servable, "predict", predict)
    outputs = to().predict("features", [image, image], ("features", "error"))
    np.testing.assert_array_equal(outputs["features"], np.arange(2_400_000).reshape(2, -1))


def test_closed_amid_a_request_it_ends_at_once_over_grpc(server, monkeypatch):
    waiting, over = threading.Event(), threading.Event()

    def predict(*args):
        waiting.set()
        over.wait(10)
        return {}

    monkeypatch.setattr(Servable, "predict", predict)
    transport, raised = connect(server.grpc, Model(), timeout=30, concurrency=1), []

    def ask():
        try:
            transport.predict("features", [b""], ("error",))
        except AwayError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(10)
    transport.close()
    thread.join(5)
    over.set()
    assert len(raised) == 1
    with pytest.raises(AwayError):
        transport.states()


class Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>Log in to this hotel's network</html>", r"the response is not JSON: .*hotel"),
        (200, b"[1, 2]", r"the response is not TensorFlow Serving's: no 'model_version_status' in \[1, 2\]"),
        (302, b"", r"^302 Found$"),
        (401, b"<html>", r"^401 Unauthorized$"),
        (400, b'{"error": 7}', r"^400 Bad Request: 7$"),
    ],
)
def test_other_servers_that_speak_http(status, body, told):
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        stranger.answer = status, body
        thread = threading.Thread(target=stranger.handle_request)
        thread.start()
        with pytest.raises(RefusedError, match=told):
            connect(f"http://127.0.0.1:{stranger.server_port}", Model(), timeout=5, concurrency=1).states()
        thread.join(5)


def test_no_name_service_and_no_certificate(server, monkeypatch):
    with pytest.raises(AwayError, match=r"^(Name or service not known|Temporary failure in name resolution)$"):
        connect("http://server.invalid:1", Model(), timeout=5, concurrency=1).states()

    def request(*args, **kwargs):
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(requests.Session, "request", request)
    with pytest.raises(RefusedError, match="certificate verify failed"):
        connect("https://127.0.0.1:1", Model(), timeout=5, concurrency=1).states()
