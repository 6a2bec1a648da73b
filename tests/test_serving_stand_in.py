"""The stand-in answers as TensorFlow Serving's documentation says it does."""

import base64
import json

import grpc
import numpy as np
import pytest
import requests
import serving_stand_in
import small_served_model
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

PNG = tf.io.encode_png(tf.fill([4, 4, 3], tf.constant(200, tf.uint8))).numpy()
B64 = {"b64": base64.b64encode(PNG).decode()}
NO_IMAGE = {"b64": base64.b64encode(b"no image").decode()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving_stand_in.serving(small_served_model.save(tmp_path_factory.mktemp("models"))) as addresses:
        yield addresses


@pytest.fixture
def post(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")

    def post(body, model="vgg"):
        response = requests.post(f"{server.rest}/v1/models/{model}:predict", data=json.dumps(body), timeout=20)
        assert response.headers["Content-Type"] == "application/json"
        return response.status_code, response.text

    return post


@pytest.mark.parametrize("instance", [B64, {"images": B64}])
def test_rows_give_a_list_of_objects(instance, post):
    status, text = post({"signature_name": "classify", "instances": [instance, instance]})
    first, second = json.loads(text)["predictions"]
    assert status == 200
    assert first == second
    assert first.keys() == {"probabilities", "scores", "class_ids", "class_names", "error"}
    assert first["error"] == ""
    assert first["scores"] == sorted(first["probabilities"], reverse=True)[:3]


@pytest.mark.parametrize("inputs", [[B64], {"images": [B64]}])
def test_columns_give_an_object_of_lists(inputs, post):
    _, text = post({"signature_name": "classify", "inputs": inputs})
    outputs = json.loads(text)["outputs"]
    assert outputs["class_names"] == [[small_served_model.NAMES[label] for label in outputs["class_ids"][0]]]


def test_one_output_goes_without_a_name(post):
    pixels = np.full((2, 4, 4, 3), 200.0).tolist()
    rows, columns = json.loads(post({"instances": pixels})[1]), json.loads(post({"inputs": {"images": pixels}})[1])
    assert rows["predictions"] == columns["outputs"]
    assert np.shape(rows["predictions"]) == (2, 5)


def test_nan_is_a_bare_token_as_in_no_json(post):
    status, text = post({"signature_name": "classify", "instances": [NO_IMAGE, B64]})
    assert status == 200
    assert "[NaN, NaN, NaN" in text
    bad, good = json.loads(text)["predictions"]
    assert (bad["error"], bad["class_ids"], good["error"]) == (small_served_model.NO_IMAGE, [-1, -1, -1], "")


@pytest.mark.parametrize(
    ("model", "body", "status", "told"),
    [
        ("vgg19", {"instances": [1]}, 404, "Servable not found for request: Latest(vgg19)"),
        ("vgg/versions/1", {"instances": [1]}, 404, "Servable not found for request: Specific(vgg, 1)"),
        ("vgg/labels/canary", {"instances": [1]}, 400, "Unrecognized servable version label: canary"),
        ("vgg", {"signature_name": "x", "instances": [B64]}, 400, 'Serving signature name: "x" not found in signature def'),
        ("vgg", {"signature_name": "classify", "inputs": {"image": [B64]}}, 400, "Missing named input: images in 'inputs' object."),
        ("vgg", {"signature_name": "classify", "instances": [{"image": B64}]}, 400, "does not have named input: image"),
        ("vgg", {"signature_name": "classify"}, 400, "Missing 'inputs' or 'instances' key"),
        ("vgg", {"instances": [[1.0]]}, 400, ""),
    ],
)
def test_errors_over_rest(model, body, status, told, post):
    received, text = post(body, model)
    assert received == status
    assert told in json.loads(text)["error"]


def test_status_over_rest(server, post):
    answer = requests.get(f"{server.rest}/v1/models/vgg", timeout=20).json()
    state = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert answer == {"model_version_status": [state]}
    assert requests.get(f"{server.rest}/v1/models/other", timeout=20).status_code == 404


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"name": "vgg19"}, "NOT_FOUND", "Servable not found for request: Latest(vgg19)"),
        ({"signature": "x"}, "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
        ({"input": "image"}, "INVALID_ARGUMENT", "Sent extra: {image}. Missing but required: {images}."),
        (
            {"outputs": ["x"]},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: x Outputs expected to be in the set {",
        ),
    ],
)
def test_errors_over_grpc(changes, code, told, server):
    with pytest.raises(grpc.RpcError) as raised:
        predict(server, **changes)
    assert raised.value.code().name == code
    assert told in raised.value.details()


def test_output_filter_over_grpc(server):
    assert predict(server, outputs=["class_ids"]).keys() == {"class_ids"}
    assert predict(server).keys() == {"probabilities", "scores", "class_ids", "class_names", "error"}


def predict(server, name="vgg", signature="classify", input="images", outputs=()):
    request = predict_pb2.PredictRequest(model_spec={"name": name, "signature_name": signature}, output_filter=outputs)
    request.inputs[input].CopyFrom(tf.make_tensor_proto([PNG]))
    with grpc.insecure_channel(server.grpc) as channel:
        return dict(prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20).outputs)
