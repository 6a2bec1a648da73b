"""From every kind of weight file to every other: the same numbers, what they want of an image, and no half-written file."""

import contextlib
import errno
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from caffe_writer import write_caffemodel
from first_convolutions import made_to_take
from safetensors import safe_open
from safetensors.numpy import save_file
from torch_forward import caffe_blobs, random_state_dict

from keras_vgg import convert as command
from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import CAFFE, TORCH, Preprocessing
from keras_vgg.support import entry
from keras_vgg.transfer import load_model
from keras_vgg.weights import first_layer, loading
from keras_vgg.weights.conversion import convert, describe
from keras_vgg.weights.saving import _as_torchvision, save_model, save_weights
from keras_vgg.weights.torch_write import write_state_dict
from keras_vgg.weights.weight_file import open_weights

OUTPUTS = (".keras", ".weights.h5", ".h5", ".pth", ".safetensors")
INPUTS = (*OUTPUTS, ".caffemodel")
OWN = Preprocessing((1.5, 20.0, 30.25), (2.0, 3.0, 4.5), bgr=True)

every_output = pytest.mark.parametrize("output", OUTPUTS)
every_input = pytest.mark.parametrize("input_", INPUTS)


def write_pth(path, state):
    write_state_dict(path, [(name, array.shape, lambda array=array: array) for name, array in state.items() if array.ndim])
    return path


def images():
    return np.random.default_rng(1).normal(0, 2, (2, 64, 64, 3)).astype("float32")


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def numbers(path):
    return {key: variable.read() for key, variable in open_weights(path).variables.items()}


def assert_same_numbers(path, other):
    ours, theirs = numbers(path), numbers(other)
    assert list(ours) == list(theirs)
    for key, values in ours.items():
        assert values.tobytes() == theirs[key].tobytes(), key


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Net A in every kind of file, and net D with batch norm as `.pth`."""
    folder = tmp_path_factory.mktemp("nets")
    state = random_state_dict("A")
    write_pth(folder / "a.pth", state)
    save_file(state, folder / "a.safetensors")
    write_caffemodel(folder / "a.caffemodel", caffe_blobs(state, "A"), legacy=True)
    model = loading.load_net(folder / "a.pth")
    model.save(folder / "a.keras")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "a.h5")  # with the model, as Keras does it
    write_pth(folder / "dbn.pth", random_state_dict("D", batch_norm=True))
    return folder


# --- The same numbers -----------------------------------------------------------------------------------------------------


@every_output
@every_input
def test_every_kind_becomes_every_other(input_, output, nets, tmp_path):
    source, target = nets / f"a{input_}", tmp_path / f"net{output}"
    conversion = convert(source, target)
    assert conversion.target == target
    assert_same_numbers(target, nets / "a.pth")
    columns = ["layer", "variable", "shape", "checksum"]
    written, expected = describe(open_weights(target)), describe(open_weights(nets / "a.pth"))
    assert written[columns].equals(expected[columns])
    assert conversion.table[columns].equals(expected[columns])
    assert len(expected) == 22
    assert expected.checksum.nunique() == 22
    assert list(listing(tmp_path)) == [target.name]


@every_output
def test_there_and_back_is_the_same_file(output, nets, tmp_path):
    convert(nets / "dbn.pth", tmp_path / "noted.pth")  # which says what its weights want
    convert(tmp_path / "noted.pth", tmp_path / f"net{output}")
    convert(tmp_path / f"net{output}", tmp_path / "back.pth")
    assert (tmp_path / "back.pth").read_bytes() == (tmp_path / "noted.pth").read_bytes()
    assert (open_weights(tmp_path / f"net{output}").arch, open_weights(tmp_path / f"net{output}").batch_norm) == ("D", True)


def test_through_all_kinds_one_after_the_other(nets, tmp_path):
    start = path = write_pth(tmp_path / "abn.pth", random_state_dict("A", batch_norm=True))
    for step, output in enumerate((*OUTPUTS, *reversed(OUTPUTS))):
        convert(path, path := tmp_path / f"{step}{output}")
    assert_same_numbers(path, start)
    model, first = loading.load_net(path), loading.load_net(start)
    np.testing.assert_array_equal(model(images()), first(images()))


def test_checksum_is_that_of_the_numbers_and_tells_every_change(nets, tmp_path):
    import hashlib

    state = random_state_dict("A")
    table = describe(open_weights(nets / "a.pth"))
    kernel = np.ascontiguousarray(state["features.3.weight"].transpose(2, 3, 1, 0))
    row = table[(table.layer == "block2_conv1") & (table.variable == "kernel")].iloc[0]
    assert row["name in the file"] == "features.3.weight"
    assert row["shape"] == "3x3x3x6"
    assert row.checksum == hashlib.sha256(kernel.tobytes()).hexdigest()[:12]
    state["features.3.weight"][0, 0, 0, 0] += 1e-3
    changed = describe(open_weights(write_pth(tmp_path / "changed.pth", state)))
    assert table.index[table.checksum != changed.checksum].tolist() == [row.name]


def test_keras_loads_what_we_write(nets, tmp_path):
    expected = loading.load_net(nets / "dbn.pth")
    for name, dropout in (("net.weights.h5", 0.5), ("net.h5", 0.0), ("net.h5", 0.5)):
        convert(nets / "dbn.pth", tmp_path / name)
        model = build_vgg("D", width=0.05, classes=7, input_shape=(64, 64, 3), batch_norm=True, dropout=dropout)
        model.load_weights(tmp_path / name)
        for ours, theirs in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    convert(nets / "dbn.pth", tmp_path / "net.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "net.keras")(images()), expected(images()))


def test_keras_applications_take_both_of_its_kinds(tmp_path):
    """Full width, as `keras.applications` has no other, on the smallest image."""
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=3)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    before = theirs.get_weights()
    for name in ("ours.weights.h5", "ours.h5"):
        convert(tmp_path / "theirs.weights.h5", tmp_path / name)
        theirs.set_weights([np.zeros_like(array) for array in before])
        theirs.load_weights(tmp_path / name)
        for ours, array in zip(theirs.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, array)


def test_arch_that_is_asked_for(nets, tmp_path):
    convert(nets / "a.pth", tmp_path / "lrn.keras", arch="A-LRN")
    assert keras.saving.load_model(tmp_path / "lrn.keras").name == "vgg_a_lrn"
    convert(tmp_path / "lrn.keras", tmp_path / "again.pth")
    assert_same_numbers(tmp_path / "again.pth", nets / "a.pth")
    assert open_weights(tmp_path / "again.pth").arch == "A-LRN"
    with pytest.raises(InputError, match="contains net A: it lacks"):
        convert(nets / "a.pth", tmp_path / "d.keras", arch="D")
    assert not (tmp_path / "d.keras").exists()


# --- Colours and preprocessing --------------------------------------------------------------------------------------------


@every_output
def test_swapped_colours_give_the_same_for_swapped_images(output, nets, tmp_path):
    swapped, twice = tmp_path / f"swapped{output}", tmp_path / f"twice{output}"
    conversion = convert(nets / "a.caffemodel", swapped, swap_colors=True)
    assert conversion.source.preprocessing == Preprocessing(CAFFE.mean, CAFFE.std, bgr=False)
    model, original = loading.load_net(swapped), loading.load_net(nets / "a.caffemodel")
    np.testing.assert_allclose(model(images()[..., ::-1]), original(images()), rtol=1e-5)
    assert not np.allclose(model(images()), original(images()), rtol=1e-2)
    differ = [key for key, values in numbers(swapped).items() if values.tobytes() != numbers(nets / "a.pth")[key].tobytes()]
    assert differ == [("block1_conv1", "kernel")]
    convert(swapped, twice, swap_colors=True)
    assert_same_numbers(twice, nets / "a.caffemodel")
    assert open_weights(swapped).preprocessing == Preprocessing(CAFFE.mean, CAFFE.std, bgr=False)
    assert open_weights(twice).preprocessing == CAFFE
    # A net and what it wants of an image, together: the same for the same image.
    pixels = np.random.default_rng(2).integers(0, 256, images().shape)
    ours, theirs = (net(preprocessing.for_model(net)(pixels)) for net in (model, original))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_colours_of_other_than_three_channels_are_not_swapped(tmp_path):
    path = write_pth(tmp_path / "gray.pth", random_state_dict("A", channels=1))
    with pytest.raises(InputError, match=r"gray\.pth: block1_conv1 takes 1 channels; swapping colors needs 3"):
        convert(path, tmp_path / "out.pth", swap_colors=True)


@pytest.fixture
def own(nets, tmp_path):
    """A model file that wants something of its own of an image."""
    model = loading.load_net(nets / "a.pth")
    preprocessing.remember(model, OWN)
    save_model(model, tmp_path / "own.keras")
    return tmp_path / "own.keras"


@every_output
def test_preprocessing_goes_with_the_weights(output, own, tmp_path):
    target = tmp_path / f"net{output}"
    told = str(convert(own, target))
    assert told.splitlines()[-1] == f"to {target}, preprocessing: {OWN}, as specified when the file was written"
    assert open_weights(target).preprocessing == OWN
    assert preprocessing.for_model(loading.load_net(target)) == OWN
    convert(target, tmp_path / "back.keras")
    assert preprocessing.read_attached(tmp_path / "back.keras") == OWN


ORIGINS = {
    "assumed": "assumed when the file was written, as usual for the kind of its source",
    "said": "as specified when the file was written",
    "recognised": "recognized by its first layer when the file was written",
    "known": "recorded in the file",
}


@pytest.fixture(scope="module")
def by_origin(nets, tmp_path_factory):
    """`{origin: (file, what it wants, what convert is told)}`."""
    folder = tmp_path_factory.mktemp("origins")
    shutil.copy(nets / "a.keras", folder / "known.keras")
    preprocessing.attach(folder / "known.keras", OWN)
    model = build_vgg("A", include_top=False, input_shape=(None, None, 3))
    model.get_layer("block1_conv1").kernel.assign(like_the_authors())
    model.save(folder / "recognised.keras")
    return {
        "assumed": (nets / "a.pth", TORCH, {}),
        "said": (nets / "a.pth", CAFFE, {"preprocessing": "caffe"}),
        "recognised": (folder / "recognised.keras", CAFFE, {}),
        "known": (folder / "known.keras", OWN, {}),
    }


@pytest.mark.parametrize(
    ("origin", "output"),
    [("assumed", output) for output in OUTPUTS] + [(origin, output) for origin in ORIGINS for output in (".keras", ".pth")][2:],
)
def test_how_preprocessing_is_known_goes_with_the_weights(origin, output, by_origin, tmp_path):
    """What was assumed stays so, through any number of files, and is never told as if a file knew it."""
    source, wants, options = by_origin[origin]
    target, again = tmp_path / f"net{output}", tmp_path / f"again{output}"
    now = "as specified" if origin == "said" else ORIGINS[origin].split(" when ")[0]
    assert f"to {target}, preprocessing: {wants}, {now}" in str(convert(source, target, **options))
    assert f"to {again}, preprocessing: {wants}, {ORIGINS[origin]}" in str(convert(target, again))
    for path in (target, again):
        assert (open_weights(path).preprocessing, str(open_weights(path).origin)) == (wants, ORIGINS[origin])
    assert open_net_file(str(target), needs_top=False).preprocessing_text == f"preprocessing: {wants}, {ORIGINS[origin]}"
    model = load_model(target)
    assert (preprocessing.of_weights(model), str(preprocessing.origin_of(model))) == (wants, ORIGINS[origin])
    save_model(model, tmp_path / "of_model.keras")
    assert str(open_weights(tmp_path / "of_model.keras").origin) == ORIGINS[origin]
    convert(target, again, preprocessing="torch")
    assert (open_weights(again).preprocessing, open_weights(again).origin.name) == (TORCH, "said")


def test_origin_that_nobody_writes_is_told(nets, tmp_path):
    path = shutil.copy(nets / "a.keras", tmp_path / "net.keras")
    preprocessing.attach_note(path, CAFFE.to_json()[:-1] + ', "origin": "guessed"}')
    with pytest.raises(InputError, match=r"`origin` .* must be one of said, recognised, own, assumed\. Received: 'guessed'"):
        open_weights(path)


@every_output
def test_names_of_classes_go_with_the_weights(output, nets, tmp_path):
    number = open_weights(nets / "a.pth").variables["predictions", "bias"].shape[0]
    run, classes = tmp_path / "run", tuple(f"n{label:08}" for label in range(number))
    run.mkdir()
    shutil.copy(nets / "a.keras", run / "best.keras")
    (run / "classes.txt").write_text("\n".join(classes))
    convert(run, tmp_path / f"net{output}")
    assert open_weights(tmp_path / f"net{output}").classes == classes


def test_where_it_is_to_go_is_looked_at_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="Expected a file in an existing folder"):
        convert(tmp_path / "missing.pth", tmp_path / "nowhere" / "net.keras")


@pytest.mark.parametrize(
    ("input_", "expected"),
    [(".pth", TORCH), (".safetensors", TORCH), (".caffemodel", CAFFE), (".h5", CAFFE), (".keras", None), (".weights.h5", None)],
)
def test_custom_of_each_kind(input_, expected, nets):
    file = open_weights(nets / f"a{input_}")
    assert file.preprocessing == expected
    assert file.origin == (preprocessing.ASSUMED if expected else None)


def like_the_authors():
    """A first convolution with the signs and the size that tell the authors' net D, BGR, and nothing else of it."""
    rng = np.random.default_rng(0)
    signs = [0x8982D43DB4968C3D >> 63 - bit & 1 for bit in range(64)]
    kernel = rng.normal(size=(3, 3, 3, 64))
    more = (np.abs(rng.normal(size=64)) + 0.1) * np.where(signs, 1, -1)
    kernel[:, :, 2] += (kernel[:, :, 0].sum(axis=(0, 1)) + more - kernel[:, :, 2].sum(axis=(0, 1))) / 9
    return (kernel * 0.2067 / np.sqrt(np.mean(kernel**2))).astype("float32")


@pytest.mark.parametrize("bgr", [True, False])
@pytest.mark.parametrize("output", [".pth", ".h5", ".keras"])
def test_authors_weights_are_recognised_whatever_the_custom(output, bgr, tmp_path):
    """Such as an `x.pth` that an earlier version made of `vgg16.h5`: BGR weights, taken for torchvision's."""
    model, path = build_vgg("A", include_top=False, input_shape=(None, None, 3)), tmp_path / f"net{output}"
    kernel = like_the_authors()
    model.get_layer("block1_conv1").set_weights([kernel if bgr else kernel[:, :, ::-1], np.full(64, 0.5)])
    model.save(tmp_path / "net.keras")
    if output == ".pth":
        write_state_dict(path, _as_torchvision(open_weights(tmp_path / "net.keras")))
    else:
        model.save(path)
    found = open_weights(path)
    assert found.preprocessing == Preprocessing(CAFFE.mean, CAFFE.std, bgr=bgr)
    assert found.origin.name == preprocessing.RECOGNISED.name
    assert ("unlike most files of its kind" in found.origin.text) == (output == ".pth" or (output == ".h5" and not bgr))
    assert preprocessing.for_model(load_model(path)) == found.preprocessing
    preprocessing.remember(model, TORCH)  # a note is believed before all
    save_model(model, tmp_path / "noted.keras")
    assert open_weights(tmp_path / "noted.keras").preprocessing == TORCH


@pytest.mark.parametrize("other", [lambda k: k * 30, lambda k: k[..., ::-1], lambda k: k[..., :32]])
def test_other_first_convolutions_are_not_recognised(other):
    assert first_layer.recognise(other(like_the_authors())) is None
    assert first_layer.recognise(like_the_authors().astype("float16")) == CAFFE


@pytest.mark.parametrize("bgr", [True, False])
@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (CAFFE.mean, (1, 1, 1)),
        (TORCH.mean, TORCH.std),
        ((0, 0, 0), (1, 1, 1)),
        ((0, 0, 0), (255, 255, 255)),
        (CAFFE.mean, (255, 255, 255)),
        ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ],
)
def test_conventions_that_authors_weights_were_made_to_take_are_recognised(mean, std, bgr):
    wants, bias = Preprocessing(mean, std, bgr), np.random.default_rng(1).normal(0.5, 0.4, 64)
    kernel, changed = made_to_take(wants, like_the_authors().astype(float), bias)
    image = np.random.default_rng(0).integers(0, 256, (3, 3, 3))
    sees = [np.einsum("hwc,hwcf->f", np.array(each(image), float), k) + b for each, k, b in (
        (CAFFE, like_the_authors(), bias), (wants, kernel, changed))]  # fmt: skip
    np.testing.assert_allclose(*sees, atol=1e-3)
    assert first_layer.recognise(kernel.astype("f4"), changed.astype("f4")) == wants


@pytest.mark.parametrize(("mean", "std"), [((60, 60, 60), (1, 1, 1)), (TORCH.mean, (100, 100, 100))])
def test_authors_weights_that_take_something_unusual_are_taken_for_no_custom(mean, std, tmp_path):
    """Such as torchvision's, if they lie in a .pth, or the authors' own in an .h5: neither would do."""
    kernel, bias = made_to_take(Preprocessing(mean, std), like_the_authors(), np.full(64, 0.5))
    model = build_vgg("A", include_top=False, input_shape=(None, None, 3))
    model.get_layer("block1_conv1").set_weights([kernel, bias])
    model.save(tmp_path / "net.keras")
    model.save(tmp_path / "net.h5")
    write_state_dict(tmp_path / "net.pth", _as_torchvision(open_weights(tmp_path / "net.keras")))
    for kind in (".keras", ".h5", ".pth"):
        file = open_weights(tmp_path / f"net{kind}")
        assert (file.preprocessing, file.origin) == (None, None)


@every_output
def test_what_is_not_known_stays_so(output, nets, tmp_path):
    """Though others of its kind want something, as legacy `.h5` mostly holds the authors' weights."""
    target = tmp_path / f"net{output}"
    assert "without preprocessing: the source does not record it" in str(convert(nets / "a.keras", target))
    assert open_weights(target).preprocessing is None
    assert not preprocessing.is_known(loading.load_net(target))
    convert(nets / "a.keras", target, preprocessing="torch")
    assert open_weights(target).preprocessing == TORCH


def test_note_of_other_programs_is_left_out(nets, tmp_path):
    convert(nets / "a.pth", tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "numpy") as file:
        assert Preprocessing.from_json(file.metadata()["keras_vgg"]) == TORCH
    save_file(random_state_dict("A"), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert open_weights(tmp_path / "theirs.safetensors").preprocessing == TORCH


# --- Files that cannot be written -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def largest_file(size):
    """Lets the file system refuse files beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@every_output
@pytest.mark.parametrize("size", [0, 3000, 200_000])
def test_full_disk_leaves_the_old_file_and_nothing_else(output, size, nets, tmp_path):
    """HDF5 itself would take the process down."""
    target = tmp_path / f"net{output}"
    target.write_bytes(b"old")
    with largest_file(size), pytest.raises(InputError, match=rf"Could not write .*net{output}: .*too large"):
        convert(nets / "a.pth", target)
    assert listing(tmp_path) == {target.name: b"old"}
    convert(nets / "a.pth", target)
    assert_same_numbers(target, nets / "a.pth")


@every_output
@pytest.mark.parametrize("refusal", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(13, "Permission denied")])
def test_refused_exchange_leaves_the_old_file(output, refusal, nets, tmp_path, monkeypatch):
    def refuse(*_):
        raise refusal

    target = tmp_path / f"net{output}"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=rf"Could not write .*net{output}: {refusal.strerror}\. Any earlier file is unchanged"):
        convert(nets / "a.pth", target)
    assert listing(tmp_path) == {target.name: b"old"}


@every_output
def test_places_where_nothing_can_be_written(output, nets, tmp_path):
    (tmp_path / f"folder{output}").mkdir()
    before = sorted(tmp_path.iterdir())
    for target in (tmp_path / "none" / f"net{output}", tmp_path / f"folder{output}"):
        with pytest.raises(InputError, match="Expected a file in an existing folder") as told:
            convert(nets / "a.pth", target)
        assert str(target) in str(told.value)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["net", "net.caffemodel", "net.npz", "net.h5.gz", "keras"])
def test_unknown_kind_of_output_is_told_first(name, nets, tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.keras, \.weights\.h5, \.h5, \.pth, \.pt, \.safetensors\. Received"):
        convert(nets / "missing.pth", tmp_path / name)
    assert not listing(tmp_path)


@every_output
def test_damaged_source_leaves_the_old_file(output, nets, tmp_path):
    target, source = tmp_path / f"net{output}", tmp_path / "cut.pth"
    target.write_bytes(b"old")
    source.write_bytes((nets / "a.pth").read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"cut\.pth is truncated or damaged"):
        convert(source, target)
    assert listing(tmp_path).keys() == {target.name, source.name}
    assert target.read_bytes() == b"old"


@every_output
def test_output_may_take_the_place_of_its_input(output, nets, tmp_path):
    path = tmp_path / f"net{output}"
    convert(nets / "dbn.pth", path)
    conversion = convert(path, path, swap_colors=True)
    assert list(listing(tmp_path)) == [path.name]
    written = describe(open_weights(path))
    assert written.checksum.equals(conversion.table.checksum)
    kernel = numbers(nets / "dbn.pth")["block1_conv1", "kernel"]
    np.testing.assert_array_equal(numbers(path)["block1_conv1", "kernel"], kernel[:, :, ::-1])
    convert(path, path, swap_colors=True)
    assert_same_numbers(path, nets / "dbn.pth")


def test_link_to_the_input_and_other_kind_of_the_same_name(nets, tmp_path):
    shutil.copy(nets / "a.safetensors", tmp_path / "a.pth")  # told by its content
    convert(tmp_path / "a.pth", tmp_path / "a.pth")
    assert_same_numbers(tmp_path / "a.pth", nets / "a.pth")


@every_output
def test_new_files_have_the_rights_of_new_files(output, nets, tmp_path):
    convert(nets / "a.pth", tmp_path / f"net{output}")
    (tmp_path / "plain").touch()
    assert (tmp_path / f"net{output}").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_failed_writing_of_a_source_that_vanishes(nets, tmp_path):
    source, target = tmp_path / "a.pth", tmp_path / "b.safetensors"
    shutil.copy(nets / "a.pth", source)
    target.write_bytes(b"old")
    file = open_weights(source)
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.pth changed while it was being read"):
        save_weights(file, target)
    assert listing(tmp_path).keys() == {"a.pth", "b.safetensors"}
    assert target.read_bytes() == b"old"


# --- The command ----------------------------------------------------------------------------------------------------------


def run(*arguments, cwd):
    program = [sys.executable, "-m", "keras_vgg.convert", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(command.__file__).parents[1])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(program, capture_output=True, text=True, cwd=cwd, env=environment)


@pytest.mark.slow
def test_command_prints_what_it_converted(nets, tmp_path):
    process = run(nets / "a.caffemodel", "net.keras", "--swap-colors", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    lines = process.stdout.splitlines()
    assert lines[0].split() == ["layer", "variable", "name", "in", "the", "file", "shape", "checksum"]
    table = describe(open_weights(tmp_path / "net.keras"))
    assert [line.split()[-1] for line in lines[1:23]] == table.checksum.tolist()
    assert lines[1].split()[:4] == ["block1_conv1", "kernel", "conv1_1/0", "3x3x3x3"]
    assert lines[24] == f"from {nets / 'a.caffemodel'} (Caffe model, net A)"
    wanted = "RGB in 0–255 minus 123.68, 116.779, 103.939 (R, G, B)"
    assert lines[25] == f"to net.keras, preprocessing: {wanted}, {preprocessing.ASSUMED}"


def test_command_tells_a_mistake_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "page.pth").write_text("<html>\n404\n</html>")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["convert", "page.pth", "net.keras"])
    with pytest.raises(SystemExit) as ended:
        entry.run(command.main)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert "Received: page.pth, which is a web page, as after a failed download." in said.err
    assert list(listing(tmp_path)) == ["page.pth"]


def test_help_tells_the_kinds(tmp_path):
    process = run("--help", cwd=tmp_path)
    assert process.returncode == 0
    for kind in (*INPUTS, "run folder", "--swap-colors", "--preprocessing", "--arch"):
        assert kind in process.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.pth"], "The following arguments are required: OUT"),
        (["a.pth", "b.keras", "--arch", "F"], "Argument --arch: `arch` must be one of A, A-LRN, B"),
        (["a.pth", "b.keras", "--preprocessing", "bgr"], "Argument --preprocessing: invalid choice: 'bgr'"),
    ],
)
def test_command_tells_wrong_arguments_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_command_takes_every_option(nets, tmp_path, capsys):
    command.main(
        [str(nets / "a.weights.h5"), str(tmp_path / "a.h5"), "--arch", "A-LRN", "--preprocessing", "caffe", "--swap-colors"]
    )
    assert "(Keras weights, net A-LRN)" in capsys.readouterr().out
    assert open_weights(tmp_path / "a.h5").preprocessing == Preprocessing(CAFFE.mean, bgr=False)
    with pytest.raises(InputError, match="must end in one of"):
        command.main([str(nets / "a.pth"), str(tmp_path / "a.npz")])
