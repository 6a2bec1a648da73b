"""A loaded version of a model: runs its signatures as TensorFlow Serving does."""

import contextlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_vgg.local_serving.status import CODES, Code, StatusError, invalid
from keras_vgg.support import extras
from keras_vgg.support.saved_model_folders import GRAPH

with extras.needed("serve"):
    from tensorflow_serving.apis import prediction_log_pb2

DEFAULT = "serving_default"
"""The signature for requests that name none."""

_WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
_BEFORE = "<stack traces unavailable>\n"  # TensorFlow's Python layer puts this before an operation's own message
_TAG = "serve"  # of the graph in a SavedModel that TensorFlow Serving uses

_REMEDY = "export nets with python -m keras_vgg.export, other Keras models with model.export(folder)"


class Servable:
    """A SavedModel whose signatures can be called. Thread-safe.

    Args:
        path: its folder.
        version: its number.
        turns: bounds the number of concurrent requests, and so their memory; others wait.

    Attributes:
        version: its number.
        definitions: inputs and outputs of its signatures, by name.

    Raises:
        ValueError: if it has no graph for serving, or that graph has no signature. TensorFlow raises on anything else wrong with
            it.
    """

    def __init__(self, path: pathlib.Path, version: int, *, turns: contextlib.AbstractContextManager):
        self.version, self._turns = version, turns
        self.definitions: dict[str, meta_graph_pb2.SignatureDef] = dict(_graph(path).signature_def)
        if not self.names:
            raise ValueError(f"it has no signatures and cannot be queried; {_REMEDY}")
        self._model = tf.saved_model.load(str(path), tags=[_TAG])
        self._warm_up(path / _WARM_UP)

    @property
    def names(self) -> list[str]:
        """The sorted names of its signatures, without TensorFlow's own."""
        return sorted(name for name in self.definitions if not name.startswith("__"))

    def _warm_up(self, path: pathlib.Path) -> None:
        for record in tf.data.TFRecordDataset(str(path)) if path.exists() else ():
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            self._model.signatures[request.model_spec.signature_name or DEFAULT](**inputs)

    def predict(self, signature: str, inputs: Mapping[str, tf.Tensor], output_filter: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: all of its inputs by name.
            output_filter: the outputs to return; all, if empty.

        Raises:
            StatusError: if there is no such signature, input or output, or the net does not accept these inputs.
        """
        if signature not in self.definitions or signature not in self._model.signatures:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        wanted, had = set(self.definitions[signature].inputs), set(inputs)
        if wanted != had:
            sizes = f"{len(had)}!={len(wanted)} len({{{joined(had)}}}) != len({{{joined(wanted)}}})"
            different = f"Sent extra: {{{joined(had - wanted)}}}. Missing but required: {{{joined(wanted - had)}}}."
            raise invalid(f"input size does not match signature: {sizes}. {different}")
        given = self.definitions[signature].outputs
        for name in output_filter:
            if name not in given:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{joined(given)}}}."
                )
        for name, tensor in inputs.items():
            _check(name, tensor, self.definitions[signature].inputs[name])
        with self._turns:
            try:
                outputs: Mapping[str, Any] = self._model.signatures[signature](**inputs)
            except tf.errors.OpError as error:
                told = error.message.rpartition(_BEFORE)[2]
                raise StatusError(CODES.get(error.error_code, Code.UNKNOWN), told) from error
            except (TypeError, ValueError) as error:  # raised by TensorFlow's Python layer
                raise invalid(str(error)) from error
            return {name: outputs[name].numpy() for name in output_filter or given}


def _graph(path: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    graphs = saved_model_pb2.SavedModel.FromString((path / GRAPH).read_bytes()).meta_graphs
    for graph in graphs:
        if set(graph.meta_info_def.tags) == {_TAG}:
            return graph
    there = "; ".join(joined(graph.meta_info_def.tags) or "no tag" for graph in graphs) or "it has no graphs"
    raise ValueError(f"it has no graph with only the tag {_TAG!r}, which is required for serving ({there}); {_REMEDY}")


def _check(name: str, tensor: tf.Tensor, info: meta_graph_pb2.TensorInfo) -> None:
    """Refuses inputs that a signature does not take: some operations crash the process on a tensor of another rank."""
    wanted = tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
    if not wanted.is_compatible_with(tensor):
        told = f"{tensor.dtype.name} of shape {tensor.shape}"
        raise invalid(f"input {name} must be {wanted.dtype.name} of shape {wanted.shape}. Received: {told}")


def joined(names: Iterable[str]) -> str:
    """Returns names sorted and joined as in messages of TensorFlow Serving."""
    return ",".join(sorted(names))
