"""The gRPC routes of TensorFlow Serving: PredictionService's Predict and GetModelMetadata, ModelService's GetModelStatus."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import grpc
import tensorflow as tf

from keras_vgg.local_serving.servable import DEFAULT, Servable
from keras_vgg.local_serving.status import Code, StatusError, invalid
from keras_vgg.local_serving.versions import Versions
from keras_vgg.support import extras

with extras.needed("serve"):
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

_THREADS = 64  # most of them wait for their turn
_SIGNATURES = "signature_def"
_NOUNS = {"classify": "classification", "regress": "regression"}


def make_server(versions: Versions, *, max_bytes: int) -> grpc.Server:
    """Returns a gRPC server for a model, not started and without a port.

    Args:
        versions: the model.
        max_bytes: size of the largest request; larger ones are refused with RESOURCE_EXHAUSTED.
    """
    options = (
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a port in use is an error
    )
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(_THREADS), options=options)
    services = _Services(versions)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    return server


class _Services(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, versions: Versions):
        self._versions = versions

    def Predict(self, request, context):  # noqa: N802 (gRPC's names)
        with _told(context):
            servable = self._versions.find(request.model_spec)
            signature = request.model_spec.signature_name or DEFAULT
            inputs = {name: _tensor(name, proto) for name, proto in request.inputs.items()}
            outputs = servable.predict(signature, inputs, tuple(request.output_filter))
            response = predict_pb2.PredictResponse(model_spec=_spec(self._versions, servable, signature))
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
            return response

    def Classify(self, request, context):  # noqa: N802
        with _told(context):
            raise not_answered(self._versions.find(request.model_spec), "classify", request.model_spec.signature_name or DEFAULT)

    def Regress(self, request, context):  # noqa: N802
        with _told(context):
            raise not_answered(self._versions.find(request.model_spec), "regress", request.model_spec.signature_name or DEFAULT)

    def GetModelMetadata(self, request, context):  # noqa: N802
        with _told(context):
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != _SIGNATURES:
                    raise invalid(f"Metadata field {field} is not supported")
            spec, signatures = metadata_of(self._versions, request.model_spec)
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
            response.metadata[_SIGNATURES].Pack(signatures)
            return response

    def GetModelStatus(self, request, context):  # noqa: N802
        with _told(context):
            return self._versions.status(request.model_spec)


@contextlib.contextmanager
def _told(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except StatusError as error:
        context.abort(error.code, error.message)


def _tensor(name: str, proto) -> tf.Tensor:
    try:
        return tf.constant(tf.make_ndarray(proto))
    except (TypeError, ValueError) as error:  # for instance fewer bytes than its shape requires
        raise invalid(f"tensor parsing error: {name}: {error}") from error


def _spec(versions: Versions, servable: Servable, signature: str = "") -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=versions.name, version={"value": servable.version}, signature_name=signature)


def metadata_of(
    versions: Versions, spec: model_pb2.ModelSpec
) -> tuple[model_pb2.ModelSpec, get_model_metadata_pb2.SignatureDefMap]:
    """Returns the version that answers a request, and its signatures; `StatusError` if it is not served."""
    servable = versions.find(spec)
    return _spec(versions, servable), get_model_metadata_pb2.SignatureDefMap(signature_def=servable.definitions)


def not_answered(servable: Servable, method: str, signature: str) -> StatusError:
    """Returns the error for a request to classify or regress, which take `tf.Example`s and are not supported."""
    if signature not in servable.definitions:
        return invalid(f'Serving signature name: "{signature}" not found in signature def')
    wanted, there = f"tensorflow/serving/{method}", servable.definitions[signature].method_name
    if there != wanted:
        return invalid(f"Expected {_NOUNS[method]} signature method_name to be {wanted}. Was: {there}")
    return StatusError(Code.UNIMPLEMENTED, f"keras_vgg.serve does not support {method}; use predict, or TensorFlow Serving")
