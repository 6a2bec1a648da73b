"""Queries TensorFlow Serving over gRPC. Imports TensorFlow, for its messages."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import Error as ProtobufError

from keras_vgg.remote.protocol import (
    MOST_BYTES,
    AwayError,
    Model,
    RefusedError,
    Rows,
    Signatures,
    SlowError,
    one_line,
    reading,
    width_of,
)
from keras_vgg.support import extras

with extras.needed("serve"):
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

# gRPC's core logs to standard error, for instance that a socket was closed; failures are raised anyway.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# A server that shuts down cancels requests in progress.
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_INDIVISIBLE = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
_OPTIONS = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", -1),
    # Finds a restarted server soon; by default gRPC would try only every two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class GrpcTransport:
    """A `Transport` over the gRPC services of TensorFlow Serving.

    Args:
        target: `HOST:PORT`.
        model: the model to query.
        timeout: seconds for a request.
        secure: whether to use TLS, trusting the usual authorities.
    """

    def __init__(self, target: str, model: Model, *, timeout: float, secure: bool = False):
        self._timeout, self._model = timeout, model
        if secure:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def states(self) -> dict[int, str]:
        """See `Transport`."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name=self._model.name))
        statuses = self._ask(self._models.GetModelStatus, request).model_version_status
        with _reading():
            return {status.version: get_model_status_pb2.ModelVersionStatus.State.Name(status.state) for status in statuses}

    def signatures(self) -> Signatures:
        """See `Transport`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self._spec(), metadata_field=["signature_def"])
        answer = self._ask(self._prediction.GetModelMetadata, request)
        packed = get_model_metadata_pb2.SignatureDefMap()
        with _reading():
            answer.metadata["signature_def"].Unpack(packed)
        outputs = {
            one_line(name): {one_line(output): _width(info.tensor_shape) for output, info in each.outputs.items()}
            for name, each in packed.signature_def.items()
            if name[:2] != "__"
        }
        return Signatures(answer.model_spec.version.value, outputs)

    def pin(self, version: int) -> None:
        """See `Transport`."""
        self._model = dataclasses.replace(self._model, version=version, label=None)

    def predict(self, signature: str, images: Sequence[bytes], outputs: Sequence[str]) -> dict[str, Rows]:
        """See `Transport`."""
        request = predict_pb2.PredictRequest(model_spec=self._spec(signature), output_filter=outputs)
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(list(images), tf.string, [len(images)]))
        answer = self._ask(self._prediction.Predict, request)
        asked, answered = self._model.version, answer.model_spec.version.value
        if asked is not None and answered != asked:  # as some proxies may do; TensorFlow Serving does not
            raise RefusedError(f"version {answered} answered a request for version {asked}")
        with _reading():
            return {name: _values(name, answer.outputs) for name in outputs}

    def close(self) -> None:
        """Closes the channel; requests in progress end at once."""
        self._channel.close()

    def _spec(self, signature: str = "") -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self._model.name, signature_name=signature)
        if self._model.version is not None:
            spec.version.value = self._model.version
        elif self._model.label is not None:
            spec.version_label = self._model.label
        return spec

    def _ask(self, method: Callable, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, told = error.code(), one_line(error.details() or "").rpartition("last error: ")[2]
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise SlowError(f"no response within {self._timeout:g} s") from error
            if code in _AWAY:
                raise AwayError(f"{code.name}: {told}") from error
            missing = code is grpc.StatusCode.NOT_FOUND
            raise RefusedError(f"{code.name}: {told}", divisible=code not in _INDIVISIBLE, missing=missing) from error
        except ValueError as error:  # raised by gRPC if `close` was called meanwhile
            raise AwayError(one_line(str(error))) from error


def _width(shape: Any) -> int | None:
    return width_of([dim.size for dim in shape.dim])


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Converts the errors of a response in another form."""
    with reading("TensorFlow Serving's"):
        try:
            yield
        except ProtobufError as error:
            raise ValueError(str(error)) from error


def _values(name: str, outputs: Mapping[str, Any]) -> np.ndarray:
    """Returns an output as an array.

    Raises:
        LookupError: if there is no such output.
        TypeError: for a type without values.
        ValueError: if it does not have a value for each element of its shape.
    """
    if name not in outputs:
        raise KeyError(name)
    tensor = outputs[name]
    shape, dtype = [dim.size for dim in tensor.tensor_shape.dim], tf.as_dtype(tensor.dtype)
    given = len(tensor.tensor_content) // dtype.size if tensor.tensor_content else _count_fields(tensor)
    if min(shape, default=0) < 0 or math.prod(shape) != given:  # one value could stand for a shape of any size
        raise ValueError(f"{name!r} of shape {shape} has {given:,} values")
    values = tf.make_ndarray(tensor)
    if values.dtype == object:
        return np.array([text.decode("utf-8", "replace") for text in values.flat], object).reshape(values.shape)
    return values


def _count_fields(tensor: Any) -> int:
    """Returns the number of values that a tensor has one by one, in the field of its type."""
    return max((len(value) for field, value in tensor.ListFields() if field.name.endswith("_val")), default=0)
