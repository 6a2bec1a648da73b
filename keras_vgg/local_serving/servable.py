"""One version of a model, loaded: its signatures, run as TensorFlow Serving runs them."""

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
"""The signature that is meant where a request names none."""

_WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
_BEFORE = "<stack traces unavailable>\n"  # what Python's side of TensorFlow puts before an operation's own message ends so
_TAG = "serve"  # of the graph that TensorFlow Serving takes of a SavedModel

_REMEDY = "nets are exported for it by python -m keras_vgg.export, Keras' models by model.export(folder)"


class Servable:
    """A SavedModel whose signatures can be called; threads may do so together.

    Args:
        path: its folder.
        version: its number.
        turns: bounds how many requests are worked on at a time, and so the memory that they take; others wait.

    Attributes:
        version: its number.
        definitions: what its signatures take and give, by their names.

    Raises:
        ValueError: if it has no graph for serving, or that has no signature. TensorFlow raises whatever else is wrong with it.
    """

    def __init__(self, path: pathlib.Path, version: int, *, turns: contextlib.AbstractContextManager):
        self.version, self._turns = version, turns
        self.definitions: dict[str, meta_graph_pb2.SignatureDef] = dict(_graph(path).signature_def)
        if not self.names:
            raise ValueError(f"it has no signatures, so that nothing can be asked of it; {_REMEDY}")
        self._model = tf.saved_model.load(str(path), tags=[_TAG])
        self._warm_up(path / _WARM_UP)

    @property
    def names(self) -> list[str]:
        """The names of its signatures, in order, but for those of TensorFlow's own."""
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
            inputs: all of its inputs by their names.
            output_filter: the outputs that are wanted; all, if none is named.

        Raises:
            StatusError: if there is no such signature, input or output, or the net does not take these inputs.
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
            except (TypeError, ValueError) as error:  # what TensorFlow's Python side refuses
                raise invalid(str(error)) from error
            return {name: outputs[name].numpy() for name in output_filter or given}


def _graph(path: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    graphs = saved_model_pb2.SavedModel.FromString((path / GRAPH).read_bytes()).meta_graphs
    for graph in graphs:
        if set(graph.meta_info_def.tags) == {_TAG}:
            return graph
    there = "; ".join(joined(graph.meta_info_def.tags) or "no tag" for graph in graphs) or "it has no graphs"
    raise ValueError(f"it has no graph with the tag {_TAG!r} alone, which is the one that is served ({there}); {_REMEDY}")


def _check(name: str, tensor: tf.Tensor, info: meta_graph_pb2.TensorInfo) -> None:
    """Refuses what a signature does not take: some operations end the whole process at a tensor of another rank."""
    wanted = tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
    if not wanted.is_compatible_with(tensor):
        told = f"{tensor.dtype.name} of shape {tensor.shape}"
        raise invalid(f"input {name} must be {wanted.dtype.name} of shape {wanted.shape}. Received: {told}")


def joined(names: Iterable[str]) -> str:
    """Returns names in order, as messages of TensorFlow Serving list them."""
    return ",".join(sorted(names))
