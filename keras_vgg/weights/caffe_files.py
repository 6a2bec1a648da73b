"""Reads Caffe weight files (`.caffemodel`) without Caffe and without loading a whole file into memory.

Such a file is one protobuf message: net > layer > blob > values. Its fields are scanned in the open file; protobuf parses
the small ones, and the values stay on disk until requested: a single blob of VGG-16 takes 411 MB.
"""

import contextlib
import itertools
import math
import pathlib

import numpy as np
from google.protobuf.message import DecodeError

from keras_vgg.errors import InputError
from keras_vgg.weights import caffe_proto
from keras_vgg.weights.caffe_proto import BlobProto
from keras_vgg.weights.protobuf_wire import BYTES, VARINT, DamagedError, Wire
from keras_vgg.weights.stored_array import StoredArray, raw_array

_NET = caffe_proto.field_numbers(caffe_proto.NetParameter)
_BLOB = caffe_proto.field_numbers(BlobProto)
_LAYERS = {_NET["layer"]: caffe_proto.LayerParameter, _NET["layers"]: caffe_proto.V1LayerParameter}
_NUMBERS: dict[int, np.dtype] = {_BLOB["data"]: np.dtype("<f4"), _BLOB["double_data"]: np.dtype("<f8")}
_GRADIENTS = (_BLOB["diff"], _BLOB["double_diff"])

# Number of axes of the first blob by layer type; the integer keys are values of V1LayerParameter.LayerType.
_KERNEL_AXES = {"Convolution": 4, "Deconvolution": 4, "InnerProduct": 2, 4: 4, 39: 4, 14: 2}
_MAX_AXES = 32  # Caffe's own limit
_MAX_SMALL = 1 << 20  # bytes of the longest name or shape that is accepted
_MAX_FIELDS = 1000  # before the first layer

# Fields that a file may begin with (name, input), that may precede the first layer (name, input, input_dim,
# force_backward, state, debug_info, input_shape), and that a layer begins with (V0 layer, bottom, top, name, type).
_FILE_BEGINS = {(1, BYTES), (3, BYTES)}
_NET_BEGINS = {*_FILE_BEGINS, (4, VARINT), (4, BYTES), (5, VARINT), (6, BYTES), (7, VARINT), (8, BYTES)}
_LAYER_BEGINS = {(1, BYTES), (2, BYTES), (3, BYTES), (4, BYTES)}


def read_caffemodel(path: str | pathlib.Path) -> dict[str, StoredArray]:
    """Returns the blobs of a `.caffemodel` file by "<layer name>/<blob number>" in file order, without reading their values.

    `conv1_1/0` is a kernel, (out, in, height, width), `conv1_1/1` its bias, (out,); `fc6/0` is (out, in). Layers without
    blobs are omitted. Both formats are supported, `layer` and the older `layers`; in old files every shape has four axes,
    and `_squeeze` removes the leading ones. Blobs of doubles are converted to float32.

    Raises:
        InputError: if the file cannot be read, is not a Caffe model, is damaged, or is in the 2013 format (V0).

    Example:
        >>> from keras_vgg.weights.caffe_files import read_caffemodel
        >>> read_caffemodel("VGG_ILSVRC_16_layers.caffemodel")["conv1_1/0"].shape  # doctest: +SKIP
        (64, 3, 3, 3)
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            return _read_net(Wire(file), path)
    except DamagedError as error:
        raise InputError(f"{path} cannot be read as a Caffe model: {error}. Fetch or copy it again.") from error
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error


def looks_like_caffemodel(path: str | pathlib.Path) -> bool:
    """Returns whether a file starts like a `.caffemodel`, damaged or not, judging by its content and not by its name.

    It must start with the net's name, inputs or layers; everything before the first layer must be a field of a net, and the
    layer must start like one. Few other files do, but rule out formats with a signature first.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            wire = Wire(file)
            for place, field in enumerate(itertools.islice(wire.fields(0), _MAX_FIELDS)):
                if _is_layer(field):
                    first = next(wire.fields(field.begin, field.end))
                    return (first.number, first.wire_type) in _LAYER_BEGINS
                known = _NET_BEGINS if place else _FILE_BEGINS
                if (field.number, field.wire_type) not in known or field.end - field.begin > _MAX_SMALL:
                    return False
                # TensorFlow's frozen graphs start the same way, but with a message in place of the name.
                if field.number == _NET["name"] and not wire.read(field.begin, field.end).decode().isprintable():
                    return False
    except (DamagedError, UnicodeDecodeError, StopIteration):
        return False
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error
    return False


def _is_layer(field):
    return field.number in _LAYERS and field.wire_type == BYTES


def _read_net(wire, path):
    arrays, layer = {}, None
    for field in filter(_is_layer, wire.fields(0)):
        layer = _LAYERS[field.number]()
        with _told_of(layer):
            blobs = _read_layer(wire, field, path, layer)
            if blobs and f"{layer.name}/0" in arrays:
                raise DamagedError("another layer has the same name")
            for number, blob in enumerate(blobs):
                arrays[f"{layer.name}/{number}"] = _read_blob(wire, blob, path, layer, number)
    if layer is None:
        raise DamagedError("it contains no layers")
    return arrays


@contextlib.contextmanager
def _told_of(layer):
    # The wording of a DecodeError depends on the implementation of protobuf; the one in Python also rejects text not in UTF-8.
    try:
        yield
    except (DamagedError, DecodeError, UnicodeDecodeError) as error:
        what = error if isinstance(error, DamagedError) else "protobuf cannot parse a name, shape or blob"
        raise DamagedError(f"in {f'layer {layer.name!r}' if layer.name else 'a layer'}, {what}") from error


def _read_layer(wire, at, path, layer):
    # Fills `layer` except for its blobs and returns their fields. After an error, the fields already set remain, e.g. the name.
    numbers, blobs = caffe_proto.field_numbers(type(layer)), []
    for field in wire.fields(at.begin, at.end):
        if field.number == numbers.get("layer"):
            raise InputError(f"{path} is in Caffe's 2013 format (V0). Convert it with Caffe's upgrade_net_proto_binary tool.")
        if field.number == numbers["blobs"] and field.wire_type == BYTES:
            blobs.append(field)
        elif field.number in numbers.values():
            layer.MergeFromString(_read_small(wire, field))
    # The C implementation of protobuf returns bytes for a name that is not UTF-8.
    if blobs and not (isinstance(layer.name, str) and layer.name and layer.name.isprintable()):
        raise DamagedError("there are blobs but no readable name")
    return blobs


def _read_blob(wire, at, path, layer, number):
    blob, chunks = BlobProto(), []
    for field in wire.fields(at.begin, at.end):
        if field.number in _NUMBERS:
            chunks.append(field)
            if field.wire_type != BYTES:
                break  # unpacked: millions of values, each with its own tag
        elif field.number in _BLOB.values() and field.number not in _GRADIENTS:
            blob.MergeFromString(_read_small(wire, field))
    if len(chunks) == 1 and chunks[0].wire_type == BYTES:
        dtype, (_, _, _, begin, end) = _NUMBERS[chunks[0].number], chunks[0]
        shape = _checked_shape(blob, layer, number, (end - begin) / dtype.itemsize)
        return _as_float32(raw_array(path, f"{layer.name}/{number}", begin, shape, dtype))
    blob = BlobProto.FromString(wire.read(at.begin, at.end))
    if blob.double_data:  # takes precedence over `data`, as in Caffe
        values = np.fromiter(blob.double_data, np.float64, len(blob.double_data)).astype(np.float32)
    else:
        values = np.fromiter(blob.data, np.float32, len(blob.data))
    values = values.reshape(_checked_shape(blob, layer, number, values.size))
    return StoredArray(values.shape, values.dtype, lambda start, stop: values[start:stop])


def _read_small(wire, field):
    if field.end - field.begin > _MAX_SMALL:
        raise DamagedError(f"the field at byte {field.start:,} has {field.end - field.begin:,} bytes, too many for a name/shape")
    return wire.read(field.start, field.end)


def _checked_shape(blob, layer, number, count):
    # In Caffe, too, the old fields take precedence over `shape`.
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = _squeeze((blob.num, blob.channels, blob.height, blob.width), layer.type, number)
    else:
        shape = tuple(blob.shape.dim) or (1,)
    if len(shape) > _MAX_AXES:
        raise DamagedError(f"blob {number} has {len(shape):,} axes; Caffe's have at most {_MAX_AXES}")
    if min(shape) < 1 or math.prod(shape) != count:
        raise DamagedError(f"blob {number} has {count:,.12g} values, which do not fit shape {shape}")
    return shape


def _squeeze(shape, layer_type, number):
    """Removes leading axes of length one from an old shape, where a bias is (1, 1, 1, n) and an FC matrix (1, 1, out, in).

    The first blob of a convolution keeps all four axes and that of an FC layer keeps two, so that a net with one output
    keeps its shape. Any other blob that starts with (1, 1) loses these two and a third axis of one; a blob that starts
    otherwise, such as a kernel of a layer without a type, keeps all axes.
    """
    axes = _KERNEL_AXES.get(layer_type, 1) if number == 0 else 1
    if axes == 4 or shape[:2] != (1, 1):
        return shape
    return shape[3:] if axes == 1 and shape[2] == 1 else shape[2:]


def _as_float32(array):
    if array.dtype == np.float32:
        return array
    return StoredArray(array.shape, np.dtype(np.float32), lambda start, stop: array.rows(start, stop).astype(np.float32))
