import collections
import copyreg
import io
import itertools
import pickle
import random
import struct
import weakref
import zipfile

import ml_dtypes
import numpy as np
import pytest

from keras_vgg.errors import InputError
from keras_vgg.weights import torch_pickle
from keras_vgg.weights.torch_files import read_note, read_state_dict
from keras_vgg.weights.torch_write import write_state_dict

# Files made by hand, opcode by opcode, so that nothing here shares code with what is tested.
EMPTY_DICT = b"ccollections\nOrderedDict\n)R"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def tup(*items):
    return b"(" + b"".join(b"J" + struct.pack("<i", item) if isinstance(item, int) else item for item in items) + b"t"


def storage(key, numel, kind="Float", *view):
    return tup(text("storage"), f"ctorch\n{kind}Storage\n".encode(), text(key), text("cuda:0"), numel, *view) + b"Q"


def tensor(stored, offset, size, stride):
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tup(stored, offset, tup(*size), tup(*stride), b"\x89", EMPTY_DICT) + b"R"


def dict_of(**items):
    return EMPTY_DICT + b"(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def write_zip(path, content, data, byteorder=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + content + b".")
        archive.writestr("net/byteorder", byteorder)
        for key, values in data.items():
            archive.writestr(f"net/data/{key}", values.tobytes())
        archive.writestr("net/version", "3\n")
    return path


def write_legacy(path, content, data, byteorder=b"little"):
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": byteorder == b"little"}]
    parts = [pickle.dumps(value, 2) for value in start]
    parts += [b"\x80\x02" + content + b".", pickle.dumps(sorted(data), 2)]
    parts += [struct.pack("<q", data[key].size) + data[key].tobytes() for key in sorted(data)]
    path.write_bytes(b"".join(parts))
    return path


both = pytest.mark.parametrize("write", [write_zip, write_legacy])

KERNEL = np.arange(24, dtype="<f4").reshape(4, 3, 2) / 7
BIAS = np.array([1.5, -2, 3e-5, 7], "<f4")
CONTENT = dict_of(
    **{
        "features.0.weight": tensor(storage("0", 24), 0, (4, 3, 2), (6, 2, 1)),
        "features.0.bias": tensor(storage("1", 4), 0, (4,), (1,)),
        "count": tensor(storage("2", 1, "Long"), 0, (), ()),
        "rate": tensor(storage("1", 4), 1, (), ()),
    }
)
DATA = {"0": KERNEL, "1": BIAS, "2": np.array([9], "<i8")}


@both
def test_reads_floats_under_their_names(write, tmp_path):
    arrays = read_state_dict(str(write(tmp_path / "a.pth", CONTENT, DATA)))
    assert list(arrays) == ["features.0.weight", "features.0.bias"]
    assert arrays["features.0.weight"].shape == (4, 3, 2)
    np.testing.assert_array_equal(arrays["features.0.weight"].read(), KERNEL)
    np.testing.assert_array_equal(arrays["features.0.weight"].rows(1, 3), KERNEL[1:3])
    assert arrays["features.0.weight"].rows(2, 2).shape == (0, 3, 2)
    np.testing.assert_array_equal(arrays["features.0.bias"].read(), BIAS)


@both
@pytest.mark.parametrize(
    ("kind", "dtype"), [("Float", "<f4"), ("Double", "<f8"), ("Half", "<f2"), ("BFloat16", ml_dtypes.bfloat16), ("Long", "<i8")]
)
def test_types(write, kind, dtype, tmp_path):
    values = np.array([0.5, -3, 256], dtype)
    content = dict_of(bias=tensor(storage("1", 4), 0, (4,), (1,)), x=tensor(storage("9", 3, kind), 0, (3,), (1,)))
    arrays = read_state_dict(write(tmp_path / "a.pth", content, {"1": BIAS, "9": values}))
    if kind == "Long":
        assert list(arrays) == ["bias"]
    else:
        assert arrays["x"].dtype == dtype
        np.testing.assert_array_equal(arrays["x"].read(), values)


@both
def test_parts_of_a_storage_in_any_order_of_axes(write, tmp_path):
    content = dict_of(
        tail=tensor(storage("0", 24), 20, (2, 2), (2, 1)),
        transposed=tensor(storage("0", 24), 0, (6, 4), (1, 6)),
        every_second=tensor(storage("0", 24), 1, (3, 2), (8, 2)),
        odd_stride_of_one=tensor(storage("0", 24), 3, (1, 2, 1), (999, 1, 55)),
    )
    arrays = read_state_dict(write(tmp_path / "a.pth", content, {"0": KERNEL}))
    flat = KERNEL.reshape(-1)
    wanted = {"tail": flat[20:].reshape(2, 2), "transposed": flat.reshape(4, 6).T, "odd_stride_of_one": flat[3:5].reshape(1, 2, 1)}
    wanted["every_second"] = flat[[[1, 3], [9, 11], [17, 19]]]
    for name, values in wanted.items():
        np.testing.assert_array_equal(arrays[name].read(), values)
        np.testing.assert_array_equal(arrays[name].rows(1, len(values)), values[1:])
        assert arrays[name].read().flags.c_contiguous


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "module"])
def test_checkpoint_and_data_parallel_are_unwrapped(key, tmp_path):
    inner = dict_of(**{f"module.{name}": tensor(storage("1", 4), 0, (4,), (1,)) for name in ("bias", "module.scale")})
    optimizer = (
        b"}(K\x03}K\x04]K\x05aX\x06\x00\x00\x00milestccollections\nCounter\n}R" + b"(K\x01K\x02tK\x01u"
    )  # keys that are no names
    content = b"}(" + text("epoch") + b"K\x03" + text("optimizer") + optimizer + text(key) + inner + b"u"
    arrays = read_state_dict(write_zip(tmp_path / "a.pth", content, DATA))
    assert list(arrays) == ["bias", "module.scale"]


def test_forms_of_the_first_pytorch_versions(tmp_path):
    """Python 2's ordered dict, `Parameter` filled afterwards, tensors without hooks, views of a storage."""
    plain = b"ctorch._utils\n_rebuild_tensor\n" + tup(storage("1", 4, "Float", b"N"), 0, tup(4), tup(1)) + b"R"
    parameter = b"ctorch.nn.parameter\nParameter\n"
    forms = {
        "plain": plain,
        "new": parameter + tup(plain) + b"\x81" + tup(b"\x88", b"\x89", EMPTY_DICT) + b"b",
        "built": parameter + b")\x81" + tup(plain, b"N", EMPTY_DICT, b"\x88", b"\x89") + b"b",
        "set": b"ctorch\nFloatTensor\n)\x81" + tup(storage("1", 4), 0, tup(4), tup(1)) + b"b",
        "rebuilt": b"ctorch._utils\n_rebuild_parameter\n" + tup(plain, b"\x88", EMPTY_DICT) + b"R",
    }
    view = tensor(storage("1", 4, "Float", tup(text("7"), 1, 3)), 1, (2,), (1,))
    pairs = b"".join(b"](U" + bytes([len(name)]) + name.encode() + form + b"e" for name, form in {**forms, "view": view}.items())
    arrays = read_state_dict(write_legacy(tmp_path / "a.pth", b"ccollections\nOrderedDict\n](" + pairs + b"e\x85R}b", {"1": BIAS}))
    assert list(arrays) == [*forms, "view"]
    for name in forms:
        np.testing.assert_array_equal(arrays[name].read(), BIAS)
    np.testing.assert_array_equal(arrays["view"].read(), BIAS[2:])


def test_compressed_archive(tmp_path):
    arrays = read_state_dict(write_zip(tmp_path / "a.pth", CONTENT, DATA, compression=zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(arrays["features.0.weight"].rows(1, 3), KERNEL[1:3])
    with pytest.raises(InputError, match="other than deflate"):
        read_state_dict(write_zip(tmp_path / "b.pth", CONTENT, DATA, compression=zipfile.ZIP_BZIP2))


@both
def test_big_endian_files_are_refused(write, tmp_path):
    with pytest.raises(InputError, match="little-endian"):
        read_state_dict(write(tmp_path / "a.pth", CONTENT, DATA, byteorder=b"big"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither"),
        (b"\x89HDF\r\n\x1a\n", "neither"),
        (b"sys_info".ljust(257, b"\0") + b"ustar\0", "tar format"),
        (pickle.dumps({"a": 1}, 2), "not one written by torch.save"),
        (b"PK\3\4" + bytes(200), "truncated"),
        (b"\x80\x02garbage", "damaged"),
    ],
)
def test_other_files_are_refused(data, message, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)


def test_missing_file_folder_and_other_archive(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(InputError, match="directory"):
        read_state_dict(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match="not a PyTorch state dict"):
        read_state_dict(tmp_path / "a.keras")


@pytest.mark.parametrize("content", [b"K\x05", b"]", EMPTY_DICT, dict_of(a=b"K\x05"), b"}q\x00" + text("model") + b"h\x00s"])
def test_pickle_without_arrays_is_refused(content, tmp_path):
    with pytest.raises(InputError, match="contains no"):
        read_state_dict(write_zip(tmp_path / "a.pth", content, {}))


def attacks(command):
    """Pickles that run `command` in Python's unpickler."""
    return {
        "posix.system": b"cposix\nsystem\n" + tup(text(command)) + b"R",
        "os.system": b"\x8c\x02os\x8c\x06system\x93" + tup(text(command)) + b"R",
        "builtins.eval": b"cbuiltins\neval\n" + tup(text(f"__import__('os').system({command!r})")) + b"R",
        "__builtin__.exec": b"c__builtin__\nexec\n" + tup(text(f"import os; os.system({command!r})")) + b"R",
        "builtins.bytes": b"cbuiltins\nbytes\ncbuiltins\nmap\ncos\nsystem\n" + tup(text(command)) + b"\x86\x81\x85\x81",
        "subprocess.call": b"(" + tup(*map(text, command.split())) + b"isubprocess\ncall\n",
        "subprocess.run": b"(csubprocess\nrun\n" + tup(*map(text, command.split())) + b"o",
        "builtins.getattr": b"cbuiltins\ngetattr\n(cos\nlinesep\n"
        + text("join")
        + b"tR0"
        + b"cos\nsystem\n"
        + tup(text(command))
        + b"R",
    }


@both
@pytest.mark.parametrize("asked", attacks("true"))
def test_malicious_pickle_runs_nothing(write, asked, tmp_path):
    marker = tmp_path / "marker"
    attack = attacks(f"touch {marker}")[asked]
    pickle.loads(b"\x80\x02" + attack + b".")
    assert marker.exists()  # the attack is a real one
    marker.unlink()
    name = "os.linesep" if asked == "builtins.getattr" else asked
    for content in (attack, dict_of(bias=tensor(storage("1", 4), 0, (4,), (1,)), x=attack)):
        with pytest.raises(InputError, match="Nothing was run") as caught:
            read_state_dict(write(tmp_path / "a.pth", content, {"1": BIAS}))
        assert asked in str(caught.value) or name in str(caught.value)
        assert not marker.exists()


@pytest.mark.parametrize("where", range(5))
def test_every_pickle_of_the_old_format_is_guarded(where, tmp_path):
    marker = tmp_path / "marker"
    start = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts = [*start, b"\x80\x02" + EMPTY_DICT + b".", pickle.dumps([], 2)]
    parts[where] = b"\x80\x02" + attacks(f"touch {marker}")["posix.system"] + b"."
    (tmp_path / "a.pth").write_bytes(b"".join(parts))
    with pytest.raises(
        InputError, match=r"a\.pth was refused: its pickle requests posix\.system; a state dict contains tensors only"
    ):
        read_state_dict(tmp_path / "a.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (b"\x82\xf0)R", "opcode EXT1"),
        (b"ccollections\nOrderedDict\n}" + text("x") + b"K\x01sb", "attributes set on collections.OrderedDict"),
        (b"ccollections\nOrderedDict\nN}" + text("__init__") + b"K\x01s\x86b", "attributes set on collections.OrderedDict"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}b", "attributes set on torch._utils"),
        (b"ccollections\nOrderedDict\nK\x01K\x02s", "items added to collections.OrderedDict"),
        (b"ctorch\nFloatStorage\n)R", "a call of torch.FloatStorage"),
        (text("system") + text("true") + b"R", "a call of str"),
        (b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93)R", "collections.OrderedDict.fromkeys"),
        (b"K\x01K\x02\x93)R", "a nameless object"),
        (b"ctorch.hub\nload_state_dict_from_url\n", "torch.hub.load_state_dict_from_url"),
        (tup(text("module"), b"ctorch\nTensor\n", text("a.py"), text("source")) + b"Q", "a persistent id"),
        (tup(text("storage"), text("FloatStorage"), text("0"), text("cpu"), 4) + b"Q", "a persistent id"),
        (tup(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), -4) + b"Q", "a persistent id"),
        (text("0") + b"Q", "a persistent id"),
        (b"P0\n", "opcode PERSID"),
        (b"cos\nx\x1b[31m\nR", r"os.x?\[31m"),
    ],
)
def test_refusal_names_what_was_asked_for(content, asked, tmp_path):
    with pytest.raises(InputError, match=r"^[^\n]*" + asked.replace("?", r"\?")):
        read_state_dict(write_zip(tmp_path / "a.pth", content, {}))


def test_extension_codes_registered_in_the_process_are_not_used(tmp_path):
    copyreg.add_extension("builtins", "print", 240)
    try:
        with pytest.raises(InputError, match="EXT1"):
            read_state_dict(write_zip(tmp_path / "a.pth", b"\x82\xf0)R", {}))
    finally:
        copyreg.remove_extension("builtins", "print", 240)


@pytest.mark.parametrize(
    "content",
    [
        b"(" * 1000 + b"0" * 10,
        b"K\x01" + b"\x85" * 100_000 + b"0}" + b"K\x01" + b"\x85" * 100_000 + b"K\x01s",  # hashing such a key overflows C's stack
        b"]("
        + (text("a") + b"K\x01\x86") * 30_000
        + b"eq\x010"
        + b"ccollections\nOrderedDict\nq\x02h\x01\x85R0" * 1
        + b"h\x02h\x01\x85R0" * 500,
        b"\x8e" + struct.pack("<Q", 2**60),
        b"\x8b" + struct.pack("<i", 2**31 - 1),
        b"L" + b"9" * 100_000 + b"L\n",
    ],
)
def test_bombs_cost_little(content, tmp_path):
    with pytest.raises(InputError):
        read_state_dict(write_zip(tmp_path / "a.pth", content, {}))


def test_huge_memo_index_takes_no_memory(tmp_path):
    content = dict_of(bias=tensor(storage("1", 4), 0, (4,), (1,)) + b"r\xff\xff\xff\xff")
    assert list(read_state_dict(write_zip(tmp_path / "a.pth", content, DATA))) == ["bias"]


def test_bombs_in_the_archive_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_pickle, "MAX_BYTES", 100_000)
    zeros, content = {"0": np.zeros(50_000, "<f4")}, dict_of(x=tensor(storage("0", 50_000), 0, (50_000,), (1,)))
    with pytest.raises(InputError, match="unpack"):
        read_state_dict(write_zip(tmp_path / "a.pth", content, zeros, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match=r"data\.pkl.*limit"):
        read_state_dict(write_zip(tmp_path / "a.pth", b"N0" * 100_000, {}, compression=zipfile.ZIP_DEFLATED))


@both
@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride"),
    [
        (4, 0, (5,), (1,)),
        (4, 1, (4,), (1,)),
        (4, -1, (4,), (1,)),
        (4, 0, (-4,), (1,)),
        (4, 3, (4,), (-1,)),
        (4, 0, (2, 2), (3, 1)),
        (4, 0, (4, 1000), (1, 0)),
        (4, 0, (2**31 - 1,) * 3, (0, 0, 0)),
        (4, 0, (4,), (1, 1)),
        (4, 0, (1,) * 40, (1,) * 40),
        (5, 0, (5,), (1,)),
        (2**31 - 1, 0, (2**31 - 1,), (1,)),
    ],
)
def test_tensors_beyond_their_storage_are_refused(write, numel, offset, size, stride, tmp_path):
    content = dict_of(bias=tensor(storage("1", numel), offset, size, stride))
    with pytest.raises(InputError, match="damaged or truncated"):
        read_state_dict(write(tmp_path / "a.pth", content, {"1": BIAS}))


@both
def test_storages_that_are_not_there_or_change_are_refused(write, tmp_path):
    with pytest.raises(InputError, match="values of bias"):
        read_state_dict(write(tmp_path / "a.pth", dict_of(bias=tensor(storage("1", 4), 0, (4,), (1,))), {}))
    two = dict_of(a=tensor(storage("1", 4), 0, (4,), (1,)), b=tensor(storage("1", 2, "Double"), 0, (2,), (1,)))
    with pytest.raises(InputError, match="two types"):
        read_state_dict(write(tmp_path / "a.pth", two, {"1": BIAS}))


@both
def test_every_truncation_is_told(write, tmp_path):
    whole, path = write(tmp_path / "a.pth", CONTENT, DATA).read_bytes(), tmp_path / "cut.pth"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_state_dict(path)


@both
def test_flipped_bytes_give_an_input_error_or_arrays(write, tmp_path):
    """The old format has no checksum, so a name or size may change there; in an archive neither can."""
    whole, path, chance = write(tmp_path / "a.pth", CONTENT, DATA).read_bytes(), tmp_path / "flipped.pth", random.Random(5)
    refusals = []
    for _ in range(600):
        flipped = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3))):
            flipped[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(flipped)
        try:
            shapes = {name: array.read().shape for name, array in read_state_dict(path).items()}
        except InputError as error:
            refusals.append(str(error))
        else:
            if write is write_zip:
                assert shapes == {"features.0.weight": (4, 3, 2), "features.0.bias": (4,)}
    assert 100 < len(refusals) < 600
    assert "\n" not in "".join(refusals)


def test_random_opcodes_give_an_input_error_or_a_value(tmp_path):
    chance = random.Random(7)
    pieces = [bytes([code]) for code in range(256)] + [b"K\x01", text("a"), EMPTY_DICT, storage("0", 4), b")", b"("] * 20
    refusals = []
    for _ in range(2000):
        content = b"".join(chance.choices(pieces, k=chance.randrange(1, 30))) + b"."
        try:
            torch_pickle.load(io.BytesIO(content), tmp_path, {})
        except InputError as error:
            refusals.append(str(error))
    assert "\n" not in "".join(refusals)


def make_arrays():
    values = {
        "features.0.weight": KERNEL,
        "features.0.bias": BIAS,
        "größe": np.ones((1, 5), "<f4"),
        "scalar": np.float32(3).reshape(()),
    }
    return values, [(name, array.shape, lambda array=array: array) for name, array in values.items()]


def test_what_is_written_is_read_and_always_the_same_bytes(tmp_path):
    values, arrays = make_arrays()
    write_state_dict(str(tmp_path / "a.pth"), arrays)
    write_state_dict(tmp_path / "other.pt", iter(arrays))
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other.pt").read_bytes()
    read = read_state_dict(tmp_path / "a.pth")
    assert list(read) == list(values)[:3]
    for name, array in read.items():
        np.testing.assert_array_equal(array.read(), values[name])


def test_written_data_is_aligned_and_in_order_of_axes(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype="<f4").reshape(2, 3))
    write_state_dict(tmp_path / "a.pth", [("x" * length, (2, 3), lambda: array) for length in range(1, 70)])
    np.testing.assert_array_equal(read_state_dict(tmp_path / "a.pth")["xx"].read(), array)
    data = (tmp_path / "a.pth").read_bytes()
    assert data.count(b"archive/data/") == 2 * 69
    for found in itertools.accumulate(range(69), lambda start, _: data.index(array.tobytes("C"), start + 1), initial=-1):
        assert found == -1 or found % 64 == 0


def test_arrays_are_read_one_at_a_time(tmp_path):
    alive = []

    def read():
        assert all(reference() is None for reference in alive)
        array = np.ones(1000, "<f4")
        alive.append(weakref.ref(array))
        return array

    write_state_dict(tmp_path / "a.pth", [(name, (1000,), read) for name in "abc"])
    assert len(alive) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([("a", (4,), lambda: BIAS), ("a", (4,), lambda: BIAS)], "unique name"),
        ([("a", (5,), lambda: BIAS)], r"a must be a float32 array of shape \(5,\)"),
        ([("a", (4,), lambda: BIAS.astype("<f8"))], "Received: float64"),
    ],
)
def test_wrong_arrays_leave_the_old_file(arrays, message, tmp_path):
    path = tmp_path / "a.pth"
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        write_state_dict(path, arrays)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
    with pytest.raises(InputError, match="Could not write"):
        write_state_dict(tmp_path / "none" / "a.pth", [])


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_what_torch_saves(is_zip, protocol, tmp_path):
    torch = pytest.importorskip("torch")

    def save(value):
        torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
        return read_state_dict(tmp_path / "a.pth")

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    net = net.to(memory_format=torch.channels_last)
    # What SGD and MultiStepLR give: torch.optim itself crashed the process that had imported TensorFlow.
    optimizer = {
        "state": {0: {"momentum_buffer": torch.ones(4, 3, 3, 3)}},
        "param_groups": [{"lr": torch.tensor(0.1), "params": [0, 1]}],
    }
    schedule = {"milestones": collections.Counter([3, 4]), "gamma": 0.1, "_last_lr": [0.1]}
    wanted = {name: value.numpy() for name, value in net.state_dict().items() if name != "1.num_batches_tracked"}
    checkpoint = {"epoch": 3, "state_dict": torch.nn.DataParallel(net).state_dict(), "optimizer": optimizer}
    checkpoint |= {
        "schedule": schedule,
        "best": torch.tensor(2.0),
        "accuracy": np.float32(0.5),
        "rng": torch.get_rng_state(),
    }
    checkpoint |= {"size": torch.Size([3]), "dtype": torch.float32, "device": torch.device("cpu"), "seen": {1, 2}}
    for saved in (net.state_dict(), checkpoint, dict(net.named_parameters()) | dict(net.named_buffers())):
        arrays = save(saved)
        assert sorted(arrays) == sorted(wanted)
        for name, values in wanted.items():
            np.testing.assert_array_equal(arrays[name].read(), values)
    base, marked = torch.arange(24.0).reshape(4, 6), torch.ones(2)
    marked.note = "an attribute"
    odd = {
        "part": base[1:, 2:4],
        "turned": base.T,
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "double": base.double(),
        "marked": marked,
    }
    arrays = save(
        odd | {"int": base.int(), "uint16": base.to(torch.uint16), "float8": base.to(torch.float8_e5m2), "empty": base[:0]}
    )
    assert list(arrays) == list(odd)
    for name, value in odd.items():
        np.testing.assert_array_equal(arrays[name].read().astype("<f8"), value.double().numpy())
    with pytest.raises(InputError, match=r"requests torch\.nn"):
        save(net)


@pytest.mark.parametrize("note", [None, '{"bgr": true}'])
def test_torch_loads_what_is_written(note, tmp_path):
    torch = pytest.importorskip("torch")
    values, arrays = make_arrays()
    write_state_dict(tmp_path / "a.pth", arrays, note)
    assert read_note(tmp_path / "a.pth") == note
    for options in ({"weights_only": True}, {"weights_only": True, "mmap": True}, {"weights_only": False}):
        loaded = torch.load(tmp_path / "a.pth", **options)
        assert list(loaded) == list(values)
        for name, value in loaded.items():
            assert value.is_contiguous()
            assert value.data_ptr() % 64 == 0
            assert not value.requires_grad
            np.testing.assert_array_equal(value.numpy(), values[name])
        loaded["features.0.bias"].add_(1)
