"""Writes `.caffemodel` files for tests, layer by layer, so that nets of VGG's size can be written too."""

import pathlib

import numpy as np

from keras_vgg.weights.caffe_proto import BlobProto, LayerParameter, NetParameter, V1LayerParameter

TYPES = {4: ("Convolution", 4), 2: ("InnerProduct", 14)}
"""Type of a layer in either format, by the axes of its first blob."""


def varint(value: int) -> bytes:
    """The variable-length integer of protobuf's wire format."""
    head = b""
    while value > 127:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def write_blob(blob: BlobProto, array: np.ndarray, legacy: bool) -> None:
    """Fills `blob` with the shape and the numbers of `array`; old shapes get leading axes of one."""
    array = np.ascontiguousarray(array, "<f4")
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    # By the message class it would take minutes for 100 million numbers.
    blob.MergeFromString(b"\x2a" + varint(array.nbytes) + array.tobytes())


def write_caffemodel(path: str | pathlib.Path, blobs: dict[str, list[np.ndarray]], legacy: bool) -> None:
    """Writes layers of these names and blobs, after a data layer, in the format of `layer` or in the older one of `layers`."""
    field, message = ("layers", V1LayerParameter) if legacy else ("layer", LayerParameter)
    with open(path, "wb") as file:
        file.write(NetParameter(name="net").SerializeToString())
        for name, arrays in {"data": [], **blobs}.items():
            layer = message(name=name)
            if not arrays:
                layer.type = 5 if legacy else "Data"
            elif arrays[0].ndim in TYPES:
                layer.type = TYPES[arrays[0].ndim][legacy]
            for array in arrays:
                write_blob(layer.blobs.add(), array, legacy)
            # Messages one after the other are one message, with the layers of all.
            file.write(NetParameter(**{field: [layer]}).SerializeToString())
