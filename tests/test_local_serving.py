"""The local server answers as TensorFlow Serving's documentation and source say that it does."""

import base64
import json
import re
import shutil

import grpc
import local_server
import numpy as np
import pytest
import requests
import small_served_model
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_vgg.errors import InputError
from keras_vgg.local_serving.json_tensors import Request
from keras_vgg.local_serving.status import Code, StatusError
from keras_vgg.local_serving.versions import Versions

PNG = tf.io.encode_png(tf.fill([4, 4, 3], tf.constant(200, tf.uint8))).numpy()
B64 = {"b64": base64.b64encode(PNG).decode()}
NO_IMAGE = {"b64": base64.b64encode(b"no image").decode()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with local_server.serving(small_served_model.save(tmp_path_factory.mktemp("models"))) as addresses:
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
    # On some CPUs the rows of a product are rounded otherwise at its edge.
    assert first == second | {name: pytest.approx(second[name], rel=1e-5) for name in ("probabilities", "scores")}
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
        (
            "vgg",
            {"instances": [[1.0]]},
            400,
            "input images must be float32 of shape (None, None, None, 3). Received: float32 of shape (1, 1)",
        ),
        ("vgg", {"instances": [[[[1, 2]]]]}, 400, "Received: float32 of shape (1, 1, 1, 2)"),
        (
            "vgg",
            {"signature_name": "classify", "inputs": B64},
            400,
            "must be string of shape (None,). Received: string of shape ()",
        ),
        ("vgg", {"instances": [[[[1, 2, "3"]]]]}, 400, "is not of expected type: float32"),
        ("vgg", {"instances": [[[[1, 2, 3]]], [[[1, 2]]]]}, 400, "not formatted correctly"),
        ("vgg", {"instances": {"images": 1}}, 400, "Excepting 'instances' to be an list/array"),
        ("vgg", {"instances": []}, 400, "No values in 'instances' array"),
        ("vgg", {"instances": [{"images": 1}, 2]}, 400, "Failed to process element: 1 of 'instances' list"),
        ("vgg", {"instances": [1], "inputs": [1]}, 400, "only one of 'instances' or 'inputs'"),
        ("vgg", {"signature_name": 3, "instances": [1]}, 400, "'signature_name' key must be a string value."),
        ("vgg", {"signature_name": "classify", "instances": [{"b64": "?"}]}, 400, "is no base64"),
        ("vgg", {"signature_name": "classify", "instances": [3]}, 400, "is not of expected type: string"),
        ("vgg", [1], 400, "JSON Value: [1] Is not object"),
        ("vgg/versions/99999999999999999999", {"instances": [1]}, 400, "Failed to convert version"),
    ],
)
def test_errors_over_rest(model, body, status, told, post):
    received, text = post(body, model)
    assert received == status
    assert told in json.loads(text)["error"]


def test_what_is_no_json_is_refused(server, post):
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        answer = requests.post(f"{server.rest}/v1/models/vgg:predict", data=body, timeout=20)
        assert (answer.status_code, answer.json()["error"][:17]) == (400, "JSON Parse error:")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "Malformed request: GET /"),
        ("/v1/models", "Missing model name in request"),
        ("/v1/models/vgg:predict", "Malformed request: GET /v1/models/vgg:predict"),
        ("/v1/models/vgg/metadata/x", "Malformed request: GET /v1/models/vgg/metadata/x"),
    ],
)
def test_other_paths_are_refused(path, told, server, post):
    answer = requests.get(server.rest + path, timeout=20)
    assert (answer.status_code, answer.json()) == (400, {"error": told})


def test_other_methods_and_bodies_of_unknown_length_are_refused(server, post):
    answer = requests.put(f"{server.rest}/v1/models/vgg", timeout=20)
    assert (answer.status_code, answer.json()) == (501, {"error": "Unsupported method ('PUT')"})
    answer = requests.post(f"{server.rest}/v1/models/vgg:predict", data=iter([b"{}"]), timeout=20)  # in chunks
    assert (answer.status_code, answer.json()) == (411, {"error": "A request must have a Content-Length. Received: none"})
    assert answer.headers["Connection"] == "close"


def test_to_classify_takes_another_kind_of_signature(server, post):
    told = "Expected {} signature method_name to be tensorflow/serving/{}. Was: tensorflow/serving/predict"
    for method, noun in (("classify", "classification"), ("regress", "regression")):
        answer = requests.post(f"{server.rest}/v1/models/vgg:{method}", json={"examples": [{"x": 1}]}, timeout=20)
        assert (answer.status_code, answer.json()["error"]) == (400, told.format(noun, method))
    request = classification_pb2.ClassificationRequest(model_spec={"name": "vgg"})
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify(request, timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == told.format("classification", "classify")


def test_metadata_say_what_inputs_and_outputs_are(server, post):
    answer = requests.get(f"{server.rest}/v1/models/vgg/versions/2/metadata", timeout=20).json()
    assert answer["model_spec"] == {"name": "vgg", "version": "2", "signature_name": ""}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["images"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["images"]["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]


@pytest.mark.parametrize(("fields", "told"), [([], "at least one metadata_field"), (["x"], "Metadata field x is not supported")])
def test_metadata_of_other_kinds_over_grpc(fields, told, server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "vgg"}, metadata_field=fields)
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError, match=told):
        prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=20)


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


def test_a_tensor_of_another_type_over_grpc(server):
    request = predict_pb2.PredictRequest(model_spec={"name": "vgg"})
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 4, 4, 3), np.uint8)))
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details().endswith("Received: uint8 of shape (1, 4, 4, 3)")


def test_a_tensor_of_too_few_bytes_over_grpc(server):
    request = predict_pb2.PredictRequest(model_spec={"name": "vgg"})
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 4, 4, 3), np.float32)))
    request.inputs["images"].tensor_content = b"1234567"
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details().startswith("tensor parsing error: images: ")


# --- Tensors in JSON ------------------------------------------------------------------------------------------------------


def info(dtype):
    return {"x": meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum)}


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (tf.uint8, [0, 255], [0, 255]),
        (tf.int64, [-1, 2**40], [-1, 2**40]),
        (tf.float32, [1, 2.5], [1.0, 2.5]),
        (tf.bool, [True, False], [True, False]),
        (tf.string, ["ä", {"b64": "/w=="}], ["ä".encode(), b"\xff"]),
        (tf.uint8, [256], "is out of range for: uint8"),
        (tf.int32, [1.5], "is not of expected type: int32"),
        (tf.bool, [1], "is not of expected type: bool"),
        (tf.float32, [True], "is not of expected type: float32"),
        (tf.float32, [None], "is not of expected type: float32"),
    ],
)
def test_values_of_every_type(dtype, value, expected):
    for request in (Request({"instances": value}), Request({"inputs": {"x": value}})):
        if isinstance(expected, str):
            with pytest.raises(StatusError, match=expected):
                request.inputs(info(dtype))
        else:
            tensor = request.inputs(info(dtype))["x"]
            assert tensor.dtype == dtype
            assert tensor.numpy().tolist() == expected


def test_outputs_in_rows_must_be_equally_many():
    request = Request({"instances": [1]})
    with pytest.raises(StatusError, match="Tensor name: b has inconsistent batch size: 3 expecting 2"):
        request.answer({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(StatusError, match="Tensor name: a has no shape information"):
        request.answer({"a": np.float32(1)})
    encoded = np.array([b"\xff", b"a"], object)
    assert json.loads(request.answer({"x_bytes": encoded})) == {"predictions": [{"b64": "/w=="}, {"b64": "YQ=="}]}
    assert json.loads(Request({"inputs": 1}).answer({"a": np.float32(1)})) == {"outputs": 1.0}


# --- Versions -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with versions 1, which takes pixels only, and 2."""
    return small_served_model.save(tmp_path_factory.mktemp("small"))


def states(versions):
    answer = versions.status(model_pb2.ModelSpec(name="vgg"))
    return {each.version: _STATES.Name(each.state) for each in answer.model_version_status}


_STATES = get_model_status_pb2.ModelVersionStatus.State


def test_new_versions_are_taken_up_once_they_are_whole(small, tmp_path):
    said, folder = [], tmp_path / "vgg"
    shutil.copytree(small / "1", folder / "1")
    versions = Versions(folder, "vgg", say=said.append)
    for name in (".2", "2x", "3"):  # being written beside, no number, and a number with nothing in it
        (folder / name).mkdir()
    (folder / "2x" / "saved_model.pb").write_bytes(b"")
    versions.poll()
    assert (versions.numbers, said) == ([1], [])
    shutil.copyfile(small / "2" / "saved_model.pb", folder / "3" / "saved_model.pb")  # its variables are yet to come
    for _ in range(2):
        versions.poll()
    assert (versions.numbers, states(versions)) == ([1], {1: "AVAILABLE", 3: "END"})
    assert len(said) == 1
    assert re.match("version 3 of vgg cannot be served: .*variables", said.pop())
    shutil.copytree(small / "2" / "variables", folder / "3" / "variables")
    versions.poll()
    assert (versions.numbers, states(versions)) == ([3], {1: "END", 3: "AVAILABLE"})
    assert said == ["version 3 of vgg is served", "version 1 of vgg is no longer served"]
    shutil.rmtree(folder / "3")  # back to the one before
    versions.poll()
    assert versions.numbers == [1]
    shutil.rmtree(folder)
    versions.poll()
    assert versions.numbers == [1]


def test_labels_keep_versions(small, tmp_path):
    versions = Versions(small, "vgg", labels={"stable": 1})
    assert versions.numbers == [1, 2]
    assert [versions.find(spec).version for spec in (model_pb2.ModelSpec(name="vgg", version_label="stable"), SPEC)] == [1, 2]
    with pytest.raises(InputError, match=r"A label must refer to a version in \S+: 1, 2\. Received: canary=7\.$"):
        Versions(small, "vgg", labels={"canary": 7})


SPEC = model_pb2.ModelSpec(name="vgg")


def test_a_saved_model_is_a_version_too(small, tmp_path):
    assert Versions(small / "2", "vgg").numbers == [2]
    shutil.copytree(small / "2", tmp_path / "net")
    versions = Versions(tmp_path / "net", "vgg")
    assert versions.numbers == [1]
    with pytest.raises(StatusError) as raised:
        versions.newest.predict("serving_default", {"images": tf.zeros([2, 2])})
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_what_has_nothing_to_serve_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "saved_model.pb").write_bytes(b"torn")
    for name, told in (("bare", "it has no signatures"), ("torn", "")):
        with pytest.raises(InputError, match=rf"^{tmp_path / name} cannot be served: {told}[^\n]+\.$"):
            Versions(tmp_path / name, "vgg")
