import itertools
import pathlib
import struct
import tracemalloc

import numpy as np
import pytest
from caffe_writer import varint, write_blob, write_caffemodel
from google.protobuf.message import DecodeError

from keras_vgg.errors import InputError
from keras_vgg.weights import caffe_proto
from keras_vgg.weights.caffe_files import looks_like_caffemodel, read_caffemodel
from keras_vgg.weights.caffe_proto import BlobProto, LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter

REAL = pathlib.Path(__file__).parents[2] / "shared" / "weights" / "caffe"

# Names and shapes of real files: the layers of Caffe's examples/cifar10/*.prototxt and of MTCNN's second net.
REAL_SHAPES = {
    "cifar10_full_iter_70000.V2.caffemodel": {
        "conv1/0": (32, 3, 5, 5),
        "conv1/1": (32,),
        "conv2/0": (32, 32, 5, 5),
        "conv2/1": (32,),
        "conv3/0": (64, 32, 5, 5),
        "conv3/1": (64,),
        "ip1/0": (10, 1024),
        "ip1/1": (10,),
    },
    "cifar10_quick_iter_5000.V1.caffemodel": {
        "conv1/0": (32, 3, 5, 5),
        "conv1/1": (32,),
        "conv2/0": (32, 32, 5, 5),
        "conv2/1": (32,),
        "conv3/0": (64, 32, 5, 5),
        "conv3/1": (64,),
        "ip1/0": (64, 1024),
        "ip1/1": (64,),
        "ip2/0": (10, 64),
        "ip2/1": (10,),
    },
    "mtcnn_det2.V2.caffemodel": {
        "conv1/0": (28, 3, 3, 3),
        "conv1/1": (28,),
        "prelu1/0": (28,),
        "conv2/0": (48, 28, 3, 3),
        "conv2/1": (48,),
        "prelu2/0": (48,),
        "conv3/0": (64, 48, 2, 2),
        "conv3/1": (64,),
        "prelu3/0": (64,),
        "conv4/0": (128, 576),
        "conv4/1": (128,),
        "prelu4/0": (128,),
        "conv5-1/0": (2, 128),
        "conv5-1/1": (2,),
        "conv5-2/0": (4, 128),
        "conv5-2/1": (4,),
        "conv5-3/0": (10, 128),
        "conv5-3/1": (10,),
    },
}

# One FC layer, "ip", of two outputs and three inputs, with the bytes worked out by hand from caffe.proto. A tag is
# number * 8 + wire type, 2 where a length follows; the tag of `layer` is 100 * 8 + 2 = 802, in two bytes 0xA2 0x06.
MATRIX, BIAS = struct.pack("<6f", 1, 2, 3, 4, 5, -6.5), struct.pack("<2f", 0.5, -0.25)
BY_HAND = {
    "layer": (
        b"\x0a\x03net"  # name
        b"\xa2\x06\x0c" + b"\x0a\x04data" + b"\x12\x04Data"  # layer of 12 bytes: name, type
        b"\xa2\x06\x45"  # layer of 69 bytes
        b"\x0a\x02ip" + b"\x12\x0cInnerProduct"  # name, type; 4 + 14
        b"\x3a\x20"
        + b"\x3a\x04\x0a\x02\x02\x03"
        + b"\x2a\x18"
        + MATRIX  # blobs, 2 + 32: shape { dim: 2, 3 }, data
        + b"\x3a\x0f"
        + b"\x3a\x03\x0a\x01\x02"
        + b"\x2a\x08"
        + BIAS  # blobs, 2 + 15: shape { dim: 2 }, data
    ),
    "layers": (
        b"\x0a\x03net"
        b"\x12\x08" + b"\x22\x04data" + b"\x28\x05"  # layers of 8 bytes: name, type DATA
        b"\x12\x42"  # layers of 66 bytes
        b"\x1a\x02ip" + b"\x22\x02ip" + b"\x28\x0e"  # top (not in our schema), name, type INNER_PRODUCT; 4 + 4 + 2
        b"\x32\x22"
        + b"\x08\x01\x10\x01\x18\x02\x20\x03"
        + b"\x2a\x18"
        + MATRIX  # blobs, 2 + 34: num … width, data
        + b"\x32\x12"
        + b"\x08\x01\x10\x01\x18\x01\x20\x02"
        + b"\x2a\x08"
        + BIAS  # blobs, 2 + 18
    ),
}

SHAPE = b"\x3a\x04\x0a\x02\x02\x03"  # shape { dim: 2, 3 }
DOUBLES = struct.pack("<6d", 1, 2, 3, 4, 5, -6.5)

# The same six numbers in every other way protobuf allows; tags are 5 (data), 6 (diff), 8, 9 (the same in doubles).
FORMS = {
    "shape last": b"\x2a\x18" + MATRIX + SHAPE,
    "unpacked": SHAPE + b"".join(b"\x2d" + MATRIX[at : at + 4] for at in range(0, 24, 4)),
    "two chunks": SHAPE + b"\x2a\x08" + MATRIX[:8] + b"\x2a\x10" + MATRIX[8:],
    "chunk and unpacked": SHAPE + b"\x2a\x14" + MATRIX[:20] + b"\x2d" + MATRIX[20:],
    "diff": b"\x32\x18" + MATRIX[::-1] + SHAPE + b"\x2a\x18" + MATRIX + b"\x4a\x30" + DOUBLES[::-1],
    "doubles": SHAPE + b"\x42\x30" + DOUBLES,
    "doubles unpacked": SHAPE + b"".join(b"\x41" + DOUBLES[at : at + 8] for at in range(0, 48, 8)),
    "doubles before data": SHAPE + b"\x2a\x18" + MATRIX[::-1] + b"\x42\x30" + DOUBLES,
    "shape in two parts": b"\x3a\x02\x08\x02\x3a\x02\x08\x03" + b"\x2a\x18" + MATRIX,  # dim: 2, then dim: 3, unpacked
    "old shape and new one": b"\x18\x02\x20\x03\x08\x01\x10\x01" + b"\x3a\x03\x0a\x01\x06" + b"\x2a\x18" + MATRIX,
    "unknown fields": b"\x7d1234" + SHAPE + b"\x7a\x03abc" + b"\x2a\x18" + MATRIX + b"\x79" + DOUBLES[:8] + b"\x78\xac\x02",
}


def field(number, payload):
    return varint(number * 8 + 2) + varint(len(payload)) + payload


def layer_of(*blobs, name="ip", kind="InnerProduct"):
    header = LayerParameter(name=name, type=kind).SerializeToString()
    return field(100, header + b"".join(field(7, blob) for blob in blobs))


def write(tmp_path, data):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    return path


def random_blobs(seed=0):
    shapes = {"conv1_1": (4, 3, 3, 3), "one/to one": (1, 1, 3, 3), "conv of one": (1, 4, 1, 1), "fc6": (5, 36), "fc8": (1, 5)}
    generator = np.random.default_rng(seed)
    return {
        name: [generator.normal(size=shape).astype(np.float32) for shape in (kernel, kernel[:1])] for name, kernel in shapes.items()
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_round_trip_is_exact(tmp_path, legacy):
    path, blobs = tmp_path / "net.caffemodel", random_blobs()
    write_caffemodel(path, blobs, legacy)
    arrays = read_caffemodel(str(path))
    assert list(arrays) == [f"{name}/{number}" for name in blobs for number in (0, 1)]
    for name, number in itertools.product(blobs, (0, 1)):
        array, expected = arrays[f"{name}/{number}"], blobs[name][number]
        assert array.dtype == np.float32
        assert array.shape == expected.shape
        np.testing.assert_array_equal(array.read(), expected)
        np.testing.assert_array_equal(array.rows(1, len(expected)), expected[1:])


@pytest.mark.parametrize("data", BY_HAND.values(), ids=BY_HAND.keys())
def test_bytes_worked_out_by_hand(tmp_path, data):
    arrays = read_caffemodel(write(tmp_path, data))
    assert {name: array.read().tolist() for name, array in arrays.items()} == {
        "ip/0": [[1, 2, 3], [4, 5, -6.5]],
        "ip/1": [0.5, -0.25],
    }


@pytest.mark.parametrize("blob", FORMS.values(), ids=FORMS.keys())
def test_other_forms_of_a_blob(tmp_path, blob):
    array = read_caffemodel(write(tmp_path, layer_of(blob)))["ip/0"]
    assert array.dtype == np.float32
    assert array.read().dtype == np.float32
    assert array.read().tolist() == [[1, 2, 3], [4, 5, -6.5]]
    assert array.rows(1, 2).tolist() == [[4, 5, -6.5]]


@pytest.mark.parametrize(
    ("old", "kind", "number", "shape"),
    [
        ((1, 1, 1, 6), "Convolution", 1, (6,)),
        ((1, 1, 1, 1), "Convolution", 1, (1,)),
        ((1, 1, 1, 6), "Convolution", 0, (1, 1, 1, 6)),
        ((1, 1, 2, 3), "Deconvolution", 0, (1, 1, 2, 3)),
        ((1, 3, 2, 1), "Convolution", 0, (1, 3, 2, 1)),
        ((1, 1, 1, 6), "InnerProduct", 0, (1, 6)),
        ((6, 1, 1, 1), "InnerProduct", 0, (6, 1, 1, 1)),
        ((1, 1, 1, 6), "InnerProduct", 1, (6,)),
        ((1, 1, 1, 6), "PReLU", 0, (6,)),
        ((1, 1, 2, 3), "", 0, (2, 3)),
        ((1, 3, 1, 2), "", 0, (1, 3, 1, 2)),
        ((6, 1, 1, 1), "", 0, (6, 1, 1, 1)),
    ],
)
def test_leading_ones_of_old_shapes(tmp_path, old, kind, number, shape):
    blob = BlobProto(data=range(np.prod(old)))
    blob.num, blob.channels, blob.height, blob.width = old
    arrays = read_caffemodel(write(tmp_path, layer_of(*[blob.SerializeToString()] * (number + 1), kind=kind)))
    assert arrays[f"ip/{number}"].shape == shape


def test_shape_without_axes_is_one_number(tmp_path):
    assert read_caffemodel(write(tmp_path, layer_of(b"\x3a\x00\x2a\x04" + MATRIX[:4])))["ip/0"].read().tolist() == [1]


def test_rows_of_a_large_blob_take_the_memory_of_the_rows(tmp_path):
    rows, row = 1024, 1 << 16  # 256 MB, a hole in the file but for the last row
    blob = BlobProto(shape={"dim": [rows, row]}).SerializeToString() + b"\x2a" + varint(4 * rows * row)
    size = len(blob) + 4 * rows * row
    layer = b"\x0a\x02ip\x3a" + varint(size) + blob
    path = write(tmp_path, b"\xa2\x06" + varint(len(layer) + 4 * rows * row) + layer)
    with open(path, "r+b") as file:
        file.seek(4 * (rows - 1) * row, 2)
        file.write(np.arange(row, dtype="<f4").tobytes())
    tracemalloc.start()
    array = read_caffemodel(path)["ip/0"]
    last = array.rows(rows - 1, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.shape == (rows, row)
    np.testing.assert_array_equal(last, np.arange(row)[None])
    assert peak < 1 << 20


@pytest.mark.parametrize("data", BY_HAND.values(), ids=BY_HAND.keys())
def test_cut_at_every_byte(tmp_path, data):
    net = NetParameter.FromString(data)
    layers = [layer.ByteSize() for layer in (*net.layer, *net.layers)]
    whole = len(data) - layers[1] - (3 if net.layer else 2), len(data)  # cuts after the data layer and after all
    for size in range(len(data)):
        path = write(tmp_path, data[:size])
        if size == whole[0]:
            assert read_caffemodel(path) == {}
            continue
        with pytest.raises(InputError, match=r"net\.caffemodel cannot be read as a Caffe model: .*(truncated|no layers)"):
            read_caffemodel(path)


def test_truncation_names_the_layer(tmp_path):
    data = BY_HAND["layer"]
    with pytest.raises(InputError, match=rf"in layer 'ip', the file is truncated at byte {len(data) - 1}\. Fetch or copy it again"):
        read_caffemodel(write(tmp_path, data[:-1]))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("data", [*BY_HAND.values(), *map(layer_of, FORMS.values())], ids=[*BY_HAND, *FORMS])
def test_damaged_bytes_raise_input_error_or_mean_what_protobuf_reads(tmp_path, data):
    generator = np.random.default_rng(0)
    for _ in range(1000):
        damaged = np.frombuffer(data, np.uint8).copy()
        for at in generator.integers(len(data), size=generator.integers(1, 4)):
            damaged[at] = generator.integers(256)
        path = write(tmp_path, damaged.tobytes())
        looks_like_caffemodel(path)
        try:
            arrays = {name: array.read() for name, array in read_caffemodel(path).items()}
        except InputError:
            continue
        try:
            assert_same_as_protobuf(arrays, damaged.tobytes())
        except DecodeError:
            # Gradients are skipped, so one of a broken length goes unseen: tag 6 or 9, wire type 2.
            assert b"\x32" in damaged.tobytes() or b"\x4a" in damaged.tobytes()


def assert_same_as_protobuf(arrays, data):
    net = NetParameter.FromString(data)
    expected = {
        f"{layer.name}/{number}": np.array(blob.double_data or blob.data, np.float64).astype(np.float32)
        for layer in (*net.layer, *net.layers)
        for number, blob in enumerate(layer.blobs)
    }
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array.ravel(), expected[name])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it contains no layers"),
        (b"\x0a\x03net", "it contains no layers"),
        (b"name: 'net'", "no field at byte 0"),
        (b"\x00" * 100, "no field at byte 0"),
        (b"\xff" * 100, "no field at byte 0"),
        (layer_of(SHAPE + field(5, MATRIX[4:])), r"layer 'ip', blob 0 has 5 values, which do not fit shape \(2, 3\)"),
        (layer_of(SHAPE + field(5, MATRIX[1:])), r"blob 0 has 5\.75 values"),
        (layer_of(SHAPE), r"blob 0 has 0 values"),
        (layer_of(b"\x3a\x02\x0a\x00" + field(5, MATRIX)), r"blob 0 has 6 values, which do not fit shape \(1,\)"),
        (layer_of(b"\x08\x06" + field(5, MATRIX)), r"do not fit shape \(6, 0, 0, 0\)"),
        (
            layer_of(field(7, field(1, b"\xff" * 9 + b"\x01" + b"\xfa" + b"\xff" * 8 + b"\x01")) + field(5, MATRIX)),
            r"shape \(-1, -6\)",
        ),
        (layer_of(field(7, field(1, b"\x01" * 33)) + field(5, MATRIX[:4])), "33 axes; Caffe's have at most 32"),
        (layer_of(b"\x2a\x7f" + MATRIX), r"layer 'ip', the field at byte \d+ runs beyond its message"),
        (layer_of(b"\x2a" + b"\xff" * 9 + b"\x01" + MATRIX), "runs beyond its message"),
        (field(100, b"\x0a\x02ip\x0b"), "layer 'ip', there is no field at byte"),  # the start of a group
        (field(100, b"\x0a\x02ip\x3a\x05"), "layer 'ip', the field at byte .* runs beyond"),
        (b"\xa2\x06" + b"\xff" * 9 + b"\x01" + b"\x0a\x02ip", "layer 'ip', the file is truncated at byte 16"),
        (field(100, field(1, b"x" * (1 << 20) + b"x")), r"1,048,577 bytes, too many for a name/shape"),
        (layer_of(FORMS["doubles"]) * 2, "layer 'ip', another layer has the same name"),
        (layer_of(FORMS["doubles"], name=""), "in a layer, there are blobs but no readable name"),
        (field(100, b"\x0a\x01\xff" + field(7, FORMS["doubles"])), "no readable name"),
        (layer_of(b"\x3a\x02\x0a\x07" + field(5, MATRIX)), "layer 'ip', protobuf cannot parse"),
    ],
    ids=itertools.count(),
)
def test_damage_is_told_with_file_and_layer(tmp_path, data, message):
    with pytest.raises(
        InputError, match=rf"net\.caffemodel cannot be read as a Caffe model: .*{message}.*\. Fetch or copy it again\."
    ):
        read_caffemodel(write(tmp_path, data))


def test_names_may_repeat_where_there_are_no_blobs(tmp_path):
    # The data layers of training and test.
    data = layer_of(name="data") + layer_of(name="data") + layer_of(FORMS["doubles"])
    assert list(read_caffemodel(write(tmp_path, data))) == ["ip/0"]


def test_oldest_format_is_told(tmp_path):
    net = NetParameter(layers=[V1LayerParameter(layer=V0LayerParameter(name="conv1", type="conv"))])
    path = write(tmp_path, net.SerializeToString())
    assert looks_like_caffemodel(path)
    with pytest.raises(InputError, match=r"V0.*upgrade_net_proto_binary"):
        read_caffemodel(path)


@pytest.mark.parametrize("function", [read_caffemodel, looks_like_caffemodel])
def test_file_that_cannot_be_opened(tmp_path, function):
    with pytest.raises(InputError, match=r"Could not read .*none: No such file"):
        function(tmp_path / "none")
    with pytest.raises(InputError, match="Is a directory"):
        function(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        *BY_HAND.values(),
        BY_HAND["layers"][:40],  # damaged ones are still told from other files
        layer_of(FORMS["diff"]),
        b"\x0a\x03net" + b"\x1a\x04data" + b"\x20\x01\x20\x03\x20\x20\x20\x20" + b"\x28\x00" + layer_of(),  # input, input_dim
    ],
    ids=itertools.count(),
)
def test_looks_like_one(tmp_path, data):
    assert looks_like_caffemodel(write(tmp_path, data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        b"\x0a\x03net",
        b"\x0a\x03net\x12",
        b"name: 'net'\nlayer {\n}\n",
        b"\nname,label\n" * 20,
        b" " * 5000,
        b"\x0a\x03net" + b" " * 5000,
        bytes(range(256)),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95" + bytes(100),
        struct.pack("<Q", 18) + b'{"__metadata__":{}',
        # A frozen graph of TensorFlow: a node (name, op), a library of functions with one function, versions.
        field(1, field(1, b"x") + field(2, b"Placeholder")) + field(2, field(1, field(1, b""))) + field(4, b"\x08\x1b"),
        field(1, b"net") + field(2, b"\x08\x01"),
    ],
    ids=itertools.count(),
)
def test_looks_like_another_file(tmp_path, data):
    assert not looks_like_caffemodel(write(tmp_path, data))


@pytest.mark.parametrize(("file", "shapes"), REAL_SHAPES.items())
def test_real_files_agree_with_a_parse_of_the_whole(file, shapes):
    path = REAL / file
    if not path.exists():
        pytest.skip(f"{file} is not there")
    assert looks_like_caffemodel(path)
    arrays = read_caffemodel(path)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert_same_as_protobuf({name: array.read() for name, array in arrays.items()}, path.read_bytes())


def test_writer_agrees_with_the_message_classes():
    for legacy in (False, True):
        blob = BlobProto()
        write_blob(blob, np.arange(200, dtype=np.float32).reshape(2, 100), legacy)
        assert list(blob.data) == list(range(200))
        assert (blob.num, blob.channels, blob.height, blob.width) == ((1, 1, 2, 100) if legacy else (0, 0, 0, 0))
        assert list(blob.shape.dim) == ([] if legacy else [2, 100])
    assert caffe_proto.field_numbers(BlobProto)["double_data"] == 8
