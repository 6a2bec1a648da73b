import hashlib
import string
import subprocess
import sys

import pytest

from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.weights import catalogue

FILES = [catalogue.CLASS_INDEX] + [
    file for entry in catalogue.CATALOGUE for file in (entry.file, entry.file_without_top) if file is not None
]


def by_file(entry):
    return entry.file.name


@pytest.mark.parametrize("entry", catalogue.CATALOGUE, ids=by_file)
def test_published_parameter_count_is_that_of_the_net(entry):
    shapes = [layer.shape for layer in configs.layer_facts(entry.arch) if "_conv" in layer.name]
    extra = sum(2 * filters for _, _, filters in shapes) if entry.batch_norm else 0
    assert entry.parameters == configs.parameter_count(entry.arch) + extra


@pytest.mark.parametrize("entry", catalogue.CATALOGUE, ids=by_file)
def test_entry_is_consistent(entry):
    custom = {".h5": "caffe", ".caffemodel": "caffe", ".pth": "torch"}["." + entry.file.name.rpartition(".")[2]]
    assert entry.preprocessing == (custom if entry.has_top else "caffe_rgb")
    assert str(configs.get_config(entry.arch).depth) in entry.file.name
    assert ("_bn" in entry.file.name) == entry.batch_norm
    assert (69 < entry.top1 < 75 < 88 < entry.top5 < 93) if entry.has_top else entry.top1 is entry.top5 is None
    assert entry.protocol
    assert entry.licence
    assert entry.source
    if entry.file.size:  # float32 and little else
        assert 0 < entry.file.size - 4 * entry.parameters < 100_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_hash_is_one_that_can_be_checked(file):
    algorithm, digits = file.hash.split(":")
    whole = 2 * hashlib.new(algorithm).digest_size
    assert len(digits) == (8 if file.name.endswith(".pth") else whole)
    assert set(digits) <= set(string.digits + "abcdef")
    if file.name.endswith(".pth"):
        assert f"-{digits}." in file.name


def test_no_file_stands_twice():
    assert len({file.url for file in FILES}) == len({file.hash for file in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("arch", "batch_norm", "expected"),
    [
        ("A", False, {"imagenet", "imagenet_torchvision"}),
        ("A-LRN", False, set()),
        ("B", False, {"imagenet", "imagenet_torchvision"}),
        ("C", False, set()),
        ("D", False, {"imagenet", "imagenet_torchvision", "imagenet_features", "imagenet_caffe"}),
        ("E", False, {"imagenet", "imagenet_torchvision", "imagenet_caffe"}),
        ("A", True, {"imagenet", "imagenet_torchvision"}),
        ("B", True, {"imagenet", "imagenet_torchvision"}),
        ("C", True, set()),
        ("D", True, {"imagenet", "imagenet_torchvision"}),
        ("E", True, {"imagenet", "imagenet_torchvision"}),
    ],
)
def test_names_are_those_that_can_be_found(arch, batch_norm, expected):
    names = catalogue.names(arch, batch_norm)
    assert len(names) == len(expected)
    assert set(names) == expected
    for name in names:
        entry = catalogue.find(arch, name, batch_norm)
        assert (entry.arch, entry.batch_norm) == (arch, batch_norm)
        assert name in entry.names


@pytest.mark.parametrize(
    ("arch", "name", "batch_norm", "file"),
    [
        ("D", "imagenet", False, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        ("E", "imagenet", False, "vgg19_weights_tf_dim_ordering_tf_kernels.h5"),
        ("D", "imagenet_torchvision", False, "vgg16-397923af.pth"),
        ("E", "imagenet_caffe", False, "VGG_ILSVRC_19_layers.caffemodel"),
        ("B", "imagenet", False, "vgg13-19584684.pth"),
        ("E", "imagenet", True, "vgg19_bn-c79401a0.pth"),
    ],
)
def test_name_stands_for_its_file(arch, name, batch_norm, file):
    assert catalogue.find(arch, name, batch_norm).file.name == file


def test_only_keras_has_files_without_the_top():
    without = [entry.file_without_top.name for entry in catalogue.CATALOGUE if entry.file_without_top]
    assert without == [f"vgg{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5" for depth in (16, 19)]
    assert catalogue.CLASS_INDEX.name == "imagenet_class_index.json"


@pytest.mark.parametrize(
    ("arch", "name", "batch_norm", "message"),
    [
        (
            "C",
            "imagenet",
            False,
            "Net C has no public weights named 'imagenet'; available: none. Pass weights=None, or pass a file.",
        ),
        (
            "A",
            "imagenet_caffe",
            True,
            "Net A with batch normalization has no public weights named 'imagenet_caffe'; "
            "available: imagenet, imagenet_torchvision. Name one of these, or pass a file.",
        ),
        (
            "F",
            "imagenet",
            False,
            "`arch` must be one of A, A-LRN, B, C, D, E, or VGG11, VGG11LRN, VGG13, VGG16C, VGG16, VGG19. Received: 'F'.",
        ),
    ],
)
def test_weights_that_are_not_there(arch, name, batch_norm, message):
    with pytest.raises(InputError) as raised:
        catalogue.find(arch, name, batch_norm)
    assert str(raised.value) == message


def test_imports_no_tensorflow():
    program = "import sys, keras_vgg.weights.catalogue; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("entry", catalogue.CATALOGUE, ids=by_file)
def test_every_entry_is_found_by_its_name(entry):
    assert catalogue.called(catalogue.reference(entry)) is entry
    assert catalogue.called(catalogue.reference(entry).upper().replace("IMAGENET", "imagenet").split(":")[0]).arch == entry.arch


@pytest.mark.parametrize(
    "name", ["D", "A-LRN", "vgg16c", "vgg11_lrn", "runs/vgg16", "vgg16:imagenet_v2", "vgg17", "", ":", "vgg16.h5"]
)
def test_names_that_are_no_public_weights(name):
    """A letter is rather somebody's folder, mistyped, than half a gigabyte to fetch."""
    assert catalogue.called(name) is None


def test_weights_alone_are_those_of_the_net_that_has_them():
    assert catalogue.called("imagenet").file.name.startswith("vgg16_weights")
    assert catalogue.called("imagenet_caffe").file.name == "VGG_ILSVRC_16_layers.caffemodel"
