"""Requests and responses of the REST routes: tensors in JSON, in row format (`instances`) or column format (`inputs`)."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vgg.local_serving.servable import DEFAULT, joined
from keras_vgg.local_serving.status import invalid

_MOST_SHOWN = 80  # characters of a value in a message


def parsed(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a request body; `StatusError` if there is none."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_shown(request)} Is not object")
    return request


def signature_of(request: Mapping[str, Any]) -> str:
    """Returns the signature name of a request; `StatusError` if it is not a string."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    return name or DEFAULT


class Request:
    """A Predict request.

    Args:
        request: its JSON object.

    Attributes:
        signature: the name of the signature.
        in_rows: whether inputs and outputs are in row format.

    Raises:
        StatusError: if it is not a valid request.
    """

    def __init__(self, request: Mapping[str, Any]):
        self.signature = signature_of(request)
        if "instances" in request and "inputs" in request:
            raise invalid("Not formatted correctly expecting only one of 'instances' or 'inputs' keys to exist")
        if "instances" not in request and "inputs" not in request:
            raise invalid("Missing 'inputs' or 'instances' key")
        self.in_rows = "instances" in request
        self._values = request["instances" if self.in_rows else "inputs"]

    def inputs(self, infos: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Returns the inputs of a signature, as described by `infos` (`{name: TensorInfo}`).

        Raises:
            StatusError: if their names or types differ.
        """
        if not infos:
            raise invalid(f"Failed to get input map for signature: {self.signature}")
        columns = _columns_of_rows(self._values, infos) if self.in_rows else _columns(self._values, infos)
        return {name: _tensor(value, tf.as_dtype(infos[name].dtype)) for name, value in columns.items()}

    def answer(self, outputs: Mapping[str, np.ndarray]) -> str:
        """Returns the JSON of a response, in the format of the request; NaN becomes a bare `NaN`, as in TensorFlow Serving.

        Raises:
            StatusError: if row format is impossible, because outputs have no rows or different numbers of rows.
        """
        if self.in_rows:
            _check_rows(outputs)
        plain = {name: _plain(name, array) for name, array in outputs.items()}
        found: Any
        if len(plain) == 1:
            (found,) = plain.values()
        elif self.in_rows:
            found = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
        else:
            found = plain
        return json.dumps({"predictions" if self.in_rows else "outputs": found})


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    rows = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information")
        if rows not in (None, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting {rows}")
        rows = len(array)


def _columns_of_rows(rows: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(rows, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if not _is_object(rows[0]):
        if len(infos) > 1:
            raise invalid("instances is a plain list, but expecting list of objects as multiple input tensors required")
        return {next(iter(infos)): rows}
    for number, row in enumerate(rows):
        element = f"Failed to process element: {number}"
        if not _is_object(row):
            raise invalid(f"{element} of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: {_shown(row)} Is not object")
        for name in row.keys() - set(infos):
            told = f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            raise invalid(f"{element} key: {name} of 'instances' list. Error: {told}")
        if row.keys() != set(infos):
            raise invalid(f"{element} of 'instances' list. JSON object: {_shown(row)} keys must be equal to: {joined(infos)}")
    return {name: [row[name] for row in rows] for name in infos}


def _columns(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(inputs):
        if len(infos) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        return {next(iter(infos)): inputs}
    for name in infos:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in infos}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _tensor(value: Any, dtype: tf.DType) -> tf.Tensor:
    try:
        if dtype == tf.string:
            return tf.constant(_strings(value), tf.string)
        array = np.array(value)
        kinds = "b" if dtype == tf.bool else "iuf" if dtype.is_floating else "iu"
        if array.size and array.dtype.kind not in kinds:
            raise TypeError(f"is not of expected type: {dtype.name}")
        if array.size and dtype.is_integer and not (dtype.min <= array.min() and array.max() <= dtype.max):
            raise TypeError(f"is out of range for: {dtype.name}")
        return tf.constant(array.astype(dtype.as_numpy_dtype))
    except (TypeError, ValueError, OverflowError) as error:  # NumPy raises this for rows of unequal length
        raise invalid(f"JSON Value: {_shown(value)} not formatted correctly: {error}") from error


def _strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_strings(each) for each in value]
    if _is_bytes(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise invalid(f"JSON Value: {_shown(value)} is no base64: {error}") from error
    if not isinstance(value, str):
        raise TypeError("is not of expected type: string")
    return value.encode()


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _plain(name: str, array: np.ndarray) -> Any:
    """Returns the JSON value of an output; only bytes whose name ends in `_bytes` are encoded."""
    if array.dtype != object:
        return array.tolist()
    as_bytes = name.endswith("_bytes")
    texts = [{"b64": base64.b64encode(each).decode()} if as_bytes else each.decode("utf-8", "replace") for each in array.flat]
    filled = np.empty(array.size, object)
    filled[:] = texts
    return filled.reshape(array.shape).tolist()
