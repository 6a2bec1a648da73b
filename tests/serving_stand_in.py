"""A stand-in for TensorFlow Serving, whose binary cannot be had everywhere that the tests run.

`python tests/serving_stand_in.py MODEL_BASE_PATH --name vgg --grpc-port P --rest-port Q` serves the newest numbered version in a
folder, over gRPC with the real protos and over REST. What it answers, errors and their wording among it, follows the documented
RESTful API and TensorFlow Serving's own source. It differs in that it loads by `tf.saved_model.load`, does not batch requests of
several clients, takes up another version only when told to (`Addresses.take_up`), and knows no other methods than those here.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import http.server
import json
import os
import pathlib
import random
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from warm_process import WarmProcess

Code = grpc.StatusCode
HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
CODES = {code.value[0]: code for code in Code}
START_SECONDS = 60


class StatusError(Exception):
    """An error as TensorFlow Serving tells it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message):
    return StatusError(Code.INVALID_ARGUMENT, message)


class Servable:
    """One version of a model."""

    def __init__(self, base_path, name, version, *, delay=0.0, delay_per_image=0.0):
        self.name, self.version, self._delay, self._delay_per_image = name, version, delay, delay_per_image
        path = pathlib.Path(base_path) / str(version)
        meta_graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
        self.definitions = dict(meta_graph.signature_def)
        self._model = tf.saved_model.load(str(path))
        self._warm_up(path / "assets.extra" / "tf_serving_warmup_requests")

    def _warm_up(self, path):
        for record in tf.data.TFRecordDataset(str(path)) if path.exists() else ():
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            self._model.signatures[request.model_spec.signature_name](**inputs)

    def predict(self, signature, inputs, output_filter=()):
        """Runs a signature on `{name: tensor}`; returns `{name: array}`."""
        images = next(iter(inputs.values()), None)
        time.sleep(self._delay + (self._delay_per_image * len(images) if self._delay_per_image else 0))
        if signature not in self.definitions:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        wanted, had = set(self.definitions[signature].inputs), set(inputs)
        if wanted != had:
            sizes = f"{len(had)}!={len(wanted)} len({{{_joined(had)}}}) != len({{{_joined(wanted)}}})"
            different = f"Sent extra: {{{_joined(had - wanted)}}}. Missing but required: {{{_joined(wanted - had)}}}."
            raise invalid(f"input size does not match signature: {sizes}. {different}")
        given = self.definitions[signature].outputs
        for name in output_filter:
            if name not in given:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{_joined(given)}}}.",
                )
        try:
            outputs = self._model.signatures[signature](**inputs)
        except tf.errors.OpError as error:
            raise StatusError(CODES.get(error.error_code, Code.UNKNOWN), error.message) from error
        except (TypeError, ValueError) as error:  # tensors of the wrong type or rank
            raise invalid(str(error)) from error
        return {name: outputs[name].numpy() for name in output_filter or given}

    def metadata(self):
        """The model that answers and its signatures."""
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self.definitions)
        return model_pb2.ModelSpec(name=self.name, version={"value": self.version}), signatures


class Versions:
    """A model with the versions that are served, at first the newest alone; labels lead to the newest."""

    def __init__(self, base_path, name, *, labels=(), **delays):
        self.name, self._base_path, self._labels, self._delays = name, base_path, labels, delays
        self._servables, self._states = {}, {}
        self.take_up(max(int(path.name) for path in pathlib.Path(base_path).iterdir() if path.name.isdigit()))

    def take_up(self, version, *, keep=False):
        """Loads a version; then lets the others go unless told to keep them, whose state stays as END, as there."""
        servable = Servable(self._base_path, self.name, version, **self._delays)
        self._states = {each: state if keep else "END" for each, state in self._states.items()} | {version: "AVAILABLE"}
        self._servables = (self._servables if keep else {}) | {version: servable}

    def find(self, spec):
        """The version that a request means; raises `StatusError` if it is not there."""
        servables = self._servables
        if spec.WhichOneof("version_choice") == "version_label":
            if spec.name == self.name and spec.version_label in self._labels:
                return servables[max(servables)]
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if spec.HasField("version") else None
        if spec.name != self.name or version not in (None, *servables):
            wanted = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return servables[max(servables) if version is None else version]

    def status(self, spec):
        """The versions there are or were and their states, newest first."""
        if spec.name != self.name:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        wanted = [spec.version.value] if spec.HasField("version") else sorted(self._states, reverse=True)
        if not set(wanted) <= self._states.keys():
            raise StatusError(Code.NOT_FOUND, f"Could not find version {spec.version.value} of model {spec.name}")
        states = [get_model_status_pb2.ModelVersionStatus(version=each, state=self._states[each], status={}) for each in wanted]
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=states)


def _joined(names):
    return ",".join(sorted(names))


# --- gRPC -----------------------------------------------------------------------------------------------------------------


class GrpcServices(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, versions):
        self._versions = versions

    def Predict(self, request, context):  # noqa: N802 (gRPC's names)
        with _told(context):
            servable = self._versions.find(request.model_spec)
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            signature = request.model_spec.signature_name or "serving_default"
            outputs = servable.predict(signature, inputs, tuple(request.output_filter))
            response = predict_pb2.PredictResponse(
                model_spec={"name": servable.name, "version": {"value": servable.version}, "signature_name": signature}
            )
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
            return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        with _told(context):
            spec, signatures = self._versions.find(request.model_spec).metadata()
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
            response.metadata["signature_def"].Pack(signatures)
            return response

    def GetModelStatus(self, request, context):  # noqa: N802
        with _told(context):
            return self._versions.status(request.model_spec)


@contextlib.contextmanager
def _told(context):
    try:
        yield
    except StatusError as error:
        context.abort(error.code, error.message)


# --- REST -----------------------------------------------------------------------------------------------------------------

PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<what>/metadata|:predict|)"
)


class RestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again
    timeout = 30

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)  # in any case, or the client would see a reset and not the answer
        if self.server.max_bytes is not None and length > self.server.max_bytes:
            self._send(413, json.dumps({"error": f"request of {length} bytes is larger than {self.server.max_bytes}"}))
        else:
            self._answer(lambda path: self._predict(path, body))

    def _answer(self, method):
        try:
            if not (path := PATH.fullmatch(self.path)):
                raise invalid(f"Malformed request: {self.command} {self.path}")
            self._send(200, method(path))
        except StatusError as error:
            self._send(HTTP_STATUS.get(error.code, 500), json.dumps({"error": error.message}))

    def _get(self, path):
        if path["what"] == ":predict":
            raise invalid(f"Malformed request: GET {self.path}")
        if not path["what"]:
            return json.dumps(_message(self.server.versions.status(_spec(path))))
        spec, signatures = self.server.versions.find(_spec(path)).metadata()
        return json.dumps({"model_spec": _message(spec), "metadata": {"signature_def": _message(signatures)}})

    def _predict(self, path, body):
        try:
            request = json.loads(body)
        except ValueError as error:
            raise invalid(f"JSON Parse error: {error}") from error
        servable = self.server.versions.find(_spec(path))
        signature = request.get("signature_name") or "serving_default"
        if signature not in servable.definitions:
            raise invalid(f'Serving signature name: "{signature}" not found in signature def')
        infos = servable.definitions[signature].inputs
        if ("instances" in request) == ("inputs" in request):
            raise invalid("Missing 'inputs' or 'instances' key")
        in_rows = "instances" in request
        columns = _columns_of_rows(request["instances"], infos) if in_rows else _columns(request["inputs"], infos)
        outputs = servable.predict(signature, {name: _tensor(value, infos[name].dtype) for name, value in columns.items()})
        plain = {name: _plain(name, array) for name, array in outputs.items()}
        if len(plain) == 1:
            (found,) = plain.values()
        elif in_rows:
            found = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
        else:
            found = plain
        return json.dumps({"predictions" if in_rows else "outputs": found})  # NaN becomes the bare token, as there

    def _send(self, status, body):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def _spec(path):
    spec = model_pb2.ModelSpec(name=path["name"])
    if path["version"]:
        spec.version.value = int(path["version"])
    elif path["label"]:
        spec.version_label = path["label"]
    return spec


def _message(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _is_bytes(value):
    return isinstance(value, dict) and value.keys() == {"b64"}


def _columns_of_rows(rows, infos):
    if not isinstance(rows, list) or not rows:
        raise invalid("No values in 'instances' array" if rows == [] else "Excepting 'instances' to be an list/array")
    if not isinstance(rows[0], dict) or _is_bytes(rows[0]):
        if len(infos) > 1:
            raise invalid("instances is a plain list, but expecting list of objects")
        return {next(iter(infos)): rows}
    for number, row in enumerate(rows):
        element = f"Failed to process element: {number}"
        for name in row.keys() - set(infos):
            told = f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            raise invalid(f"{element} key: {name} of 'instances' list. Error: {told}")
        if row.keys() != set(infos):
            raise invalid(f"{element} of 'instances' list. JSON object: {json.dumps(row)} keys must be equal to: {_joined(infos)}")
    return {name: [row[name] for row in rows] for name in infos}


def _columns(inputs, infos):
    if not isinstance(inputs, dict) or _is_bytes(inputs):
        if len(infos) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object")
        return {next(iter(infos)): inputs}
    for name in infos:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in infos}


def _tensor(value, dtype):
    try:
        if dtype == tf.string.as_datatype_enum:
            return tf.constant(_decoded(value), tf.string)
        return tf.constant(np.array(value), tf.as_dtype(dtype))
    except (TypeError, ValueError) as error:
        raise invalid(f"JSON Value: {json.dumps(value)[:80]} not formatted correctly: {error}") from error


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return base64.b64decode(value["b64"], validate=True) if _is_bytes(value) else value


def _plain(name, array):
    """What stands for an output in JSON; only bytes whose name says so are encoded."""
    if array.dtype != object:
        return array.tolist()
    as_bytes = name.endswith("_bytes")
    texts = [{"b64": base64.b64encode(each).decode()} if as_bytes else each.decode("utf-8", "replace") for each in array.flat]
    return np.array(texts, object).reshape(array.shape).tolist()


# --- Start and stop -------------------------------------------------------------------------------------------------------


class RestServer(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that went away


@contextlib.contextmanager
def serving(
    base_path, *, name="vgg", grpc_port=0, rest_port=0, labels=(), delay=0.0, delay_per_image=0.0, max_bytes=None
) -> Iterator["Addresses"]:
    """Serves in this process; ports are chosen where they are 0.

    Args:
        base_path: folder of numbered versions.
        name: the model's name.
        labels: version labels that lead to the newest version.
        delay: seconds that an answer takes longer.
        delay_per_image: seconds that it takes longer for each image of the request.
        max_bytes: size of the largest request, else RESOURCE_EXHAUSTED over gRPC and 413 over REST.
    """
    versions = Versions(base_path, name, labels=labels, delay=delay, delay_per_image=delay_per_image)
    options = [("grpc.max_receive_message_length", -1 if max_bytes is None else max_bytes), ("grpc.max_send_message_length", -1)]
    options.append(("grpc.so_reuseport", 0))  # a port that is taken is an error
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), options=options)
    services = GrpcServices(versions)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    grpc_port = server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    rest = RestServer(("127.0.0.1", rest_port), RestHandler)
    rest.versions, rest.max_bytes = versions, max_bytes
    thread = threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    server.start()
    thread.start()
    try:
        yield Addresses(grpc_port, rest.server_port, versions.take_up)
    finally:
        rest.shutdown()
        rest.socket.close()  # not `server_close`, which would wait for connections that clients keep
        server.stop(None).wait(10)


class Addresses:
    """Where it serves: `grpc` and `rest` are what `--url` of the client takes; `take_up(version)` changes what is served."""

    def __init__(self, grpc_port, rest_port, take_up=None):
        self.take_up = take_up
        self.grpc_port, self.rest_port = grpc_port, rest_port
        self.grpc, self.rest = f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}"


class Process(Addresses):
    """A stand-in as a process of its own, ready to answer."""

    def __init__(self, base_path, *, name="vgg", grpc_port=0, rest_port=0, labels=(), delay=0.0, max_bytes=None):
        super().__init__(grpc_port or free_port(), rest_port or free_port())
        arguments = [str(base_path), "--name", name, "--delay", str(delay)]
        arguments += ["--grpc-port", str(self.grpc_port), "--rest-port", str(self.rest_port)]
        arguments += [each for label in labels for each in ("--label", label)]
        arguments += [] if max_bytes is None else ["--max-bytes", str(max_bytes)]
        self._folder = tempfile.TemporaryDirectory()
        self.process = WarmProcess("serving_stand_in", arguments, pathlib.Path(self._folder.name, "output"))
        try:
            self.process.wait_for("ready", START_SECONDS)
        except RuntimeError:
            self._folder.cleanup()
            raise

    def kill(self):
        """SIGKILL, as a machine that fails."""
        self.process.kill()
        self._folder.cleanup()


@contextlib.contextmanager
def start(base_path, **settings) -> Iterator[Process]:
    """A stand-in as a process of its own, with the settings of `serving`; it is killed afterwards."""
    process = Process(base_path, **settings)
    try:
        yield process
    finally:
        process.kill()


def free_port():
    """A port that is free now, below those from which the system chooses: a client that knocks at it does not meet itself."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base_path")
    parser.add_argument("--name", default="vgg")
    parser.add_argument("--grpc-port", type=int, default=8500)
    parser.add_argument("--rest-port", type=int, default=8501)
    parser.add_argument("--label", action="append", default=[], help="a version label for the newest version")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that an answer takes longer")
    parser.add_argument("--max-bytes", type=int, help="size of the largest request")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = {"name": given.name, "grpc_port": given.grpc_port, "rest_port": given.rest_port, "labels": tuple(given.label)}
    with serving(given.base_path, **settings, delay=given.delay, max_bytes=given.max_bytes):
        print("ready", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
