"""The public VGG weights as a table: files, hashes, accuracies and licenses.

Only data: imports no TensorFlow and accesses no network. Nets C and A-LRN have no public weights.
"""

import contextlib
import dataclasses

from keras_vgg.configs import CONFIGS, get_config, net_called
from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class File:
    """A file to download, with the hash that verifies it.

    Attributes:
        url: where to download it.
        hash: "algorithm:hexdigits" with an algorithm of `hashlib`. The digits may be only the start of the digest:
            torchvision publishes only eight, in the file name.
        size: in bytes, if published.
        kept_as: its name in the models folder, where the name in the URL is not unique.
    """

    url: str
    hash: str
    size: int | None = None
    kept_as: str | None = None

    @property
    def name(self) -> str:
        """Its name in the models folder: by default the last part of the URL."""
        return self.kept_as or self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One set of public weights.

    Attributes:
        arch: the net's letter.
        batch_norm: whether batch normalization follows every convolution.
        names: what the weights are called, as in `weights="imagenet"`.
        file: the whole net with its 1000 classes; the suffix gives the format.
        file_without_top: the convolutions only; `None` if there is no such file.
        parameters: number of trainable parameters of the whole net, as published.
        preprocessing: a key of `preprocessing.BY_NAME`.
        top1: top-1 accuracy in percent on the validation set of ILSVRC-2012, as published.
        top5: top-5 accuracy, likewise.
        protocol: how the two accuracies were measured.
        licence: license of the weights.
        source: origin of the weights and of their accuracies.
        has_top: whether `file` has usable FC layers.
    """

    arch: str
    batch_norm: bool
    names: tuple[str, ...]
    file: File
    file_without_top: File | None
    parameters: int
    preprocessing: str
    top1: float | None
    top5: float | None
    protocol: str
    licence: str
    source: str
    has_top: bool = True


CLASS_INDEX = File(
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "md5:c2c37ea517e94d9795004a39431a14cb",
    35363,
)
"""WordNet ids and names of the 1000 classes in output order, the same for all weights here."""


def _keras(arch, depth, md5, size, md5_without_top, size_without_top, parameters, top1, top5):
    folder = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg{depth}"
    stem = f"{folder}/vgg{depth}_weights_tf_dim_ordering_tf_kernels"
    return Entry(
        arch=arch,
        batch_norm=False,
        names=("imagenet",),
        file=File(f"{stem}.h5", f"md5:{md5}", size),
        file_without_top=File(f"{stem}_notop.h5", f"md5:{md5_without_top}", size_without_top),
        parameters=parameters,
        preprocessing="caffe",
        top1=top1,
        top5=top5,
        protocol="single center crop",
        licence="CC BY 4.0",
        source="the authors' Caffe release in Keras' layout, keras.applications",
    )


def _torchvision(arch, names, stem, sha256, parameters, top1, top5):
    return Entry(
        arch=arch,
        batch_norm=stem.endswith("_bn"),
        names=names,
        file=File(f"https://download.pytorch.org/models/{stem}-{sha256}.pth", f"sha256:{sha256}"),
        file_without_top=None,
        parameters=parameters,
        preprocessing="torch",
        top1=top1,
        top5=top5,
        protocol="single center crop of 224, shorter side 256",
        licence="BSD-3-Clause",
        source="torchvision's own training, IMAGENET1K_V1",
    )


def _caffe(arch, depth, sha1, parameters, top1, top5):
    return Entry(
        arch=arch,
        batch_norm=False,
        names=("imagenet_caffe",),
        file=File(f"http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_{depth}_layers.caffemodel", f"sha1:{sha1}"),
        file_without_top=None,
        parameters=parameters,
        preprocessing="caffe",
        top1=top1,
        top5=top5,
        protocol="dense, Q=384",
        licence="CC BY 4.0",
        source="the authors' Caffe release, trained with S in [256;512]; the paper, Table 3",
    )


def _features(arch, stem, sha256, parameters):
    return dataclasses.replace(
        _torchvision(arch, ("imagenet_features",), stem, sha256, parameters, None, None),
        preprocessing="caffe_rgb",
        protocol="convolutions only",
        licence="CC BY 4.0",
        source="the authors' convolutions for RGB, as in ssd.pytorch, torchvision's IMAGENET1K_FEATURES",
        has_top=False,
    )


# "imagenet" is the set that Keras provides under that name, if any, else torchvision's, the only one.
_BOTH, _SECOND = ("imagenet", "imagenet_torchvision"), ("imagenet_torchvision",)

# fmt: off
CATALOGUE = (
    _keras("D", 16, "64373286793e3c8b2b4e3219cbf3544b", 553467096, "6d6bbae143d832006294945121d1f1fc", 58889256,
           138357544, 71.3, 90.1),
    _keras("E", 19, "cbe5617147190e668d6c5d5026f83318", 574710816, "253f8cb515780f3b799900260a226db6", 80134624,
           143667240, 71.3, 90.0),
    _torchvision("A", _BOTH, "vgg11", "8a719046", 132863336, 69.020, 88.628),
    _torchvision("B", _BOTH, "vgg13", "19584684", 133047848, 69.928, 89.246),
    _torchvision("D", _SECOND, "vgg16", "397923af", 138357544, 71.592, 90.382),
    _torchvision("E", _SECOND, "vgg19", "dcbb9e9d", 143667240, 72.376, 90.876),
    _torchvision("A", _BOTH, "vgg11_bn", "6002323d", 132868840, 70.370, 89.810),
    _torchvision("B", _BOTH, "vgg13_bn", "abd245e5", 133053736, 71.586, 90.374),
    _torchvision("D", _BOTH, "vgg16_bn", "6c64b313", 138365992, 73.360, 91.516),
    _torchvision("E", _BOTH, "vgg19_bn", "c79401a0", 143678248, 74.218, 91.842),
    _features("D", "vgg16_features-amdegroot", "88682ab5", 138357544),
    _caffe("D", 16, "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24", 138357544, 74.4, 91.9),
    _caffe("E", 19, "239785e7862442717d831f682bb824055e51e9ba", 143667240, 74.5, 92.0),
)
# fmt: on


_USUAL = "D"
"""The net meant by a name of weights without a net."""


def names(arch: str, batch_norm: bool = False) -> tuple[str, ...]:
    """Returns the names of a net's public weights; empty if it has none.

    >>> from keras_vgg.weights.catalogue import names
    >>> names("D")
    ('imagenet', 'imagenet_torchvision', 'imagenet_features', 'imagenet_caffe')
    """
    return tuple(name for entry in _entries(arch, batch_norm) for name in entry.names)


def find(arch: str, name: str, batch_norm: bool = False) -> Entry:
    """Returns the public weights of a net by their name.

    >>> from keras_vgg.weights.catalogue import find
    >>> find("A", "imagenet").file.name
    'vgg11-8a719046.pth'

    Raises:
        InputError: if the net has no weights of that name; the message lists those it has.
    """
    for entry in _entries(arch, batch_norm):
        if name in entry.names:
            return entry
    net = f"Net {arch} with batch normalization" if batch_norm else f"Net {arch}"
    known = ", ".join(names(arch, batch_norm))
    advice = "Name one of these" if known else "Pass weights=None"
    raise InputError(f"{net} has no public weights named {name!r}; available: {known or 'none'}. {advice}, or pass a file.")


def called(text: str) -> Entry | None:
    """Returns the public weights that `text` names in place of a weight file: `NET`, `WEIGHTS` of net D, or `NET:WEIGHTS`.

    >>> from keras_vgg.weights.catalogue import called
    >>> [called(text).file.name for text in ("vgg16_bn", "VGG19:imagenet_torchvision", "imagenet")]
    ['vgg16_bn-6c64b313.pth', 'vgg19-dcbb9e9d.pth', 'vgg16_weights_tf_dim_ordering_tf_kernels.h5']
    >>> called("my_net") is None
    True
    """
    net, _, weights = text.partition(":")
    if any(text in entry.names for entry in CATALOGUE):
        net, weights = CONFIGS[_USUAL].known_as[0], text
    if net in CONFIGS:  # a single letter is more likely the name of a user's folder
        return None
    with contextlib.suppress(InputError):  # then it is no name of a net
        entries = _entries(*net_called(net))
        return next((entry for entry in entries if not weights or weights in entry.names), None) if entries else None
    return None


def reference(entry: Entry) -> str:
    """Returns the shortest name by which `called` finds an entry, e.g. `vgg16`."""
    net = CONFIGS[entry.arch].known_as[0].lower() + ("_bn" if entry.batch_norm else "")
    return net if called(net) is entry else f"{net}:{entry.names[-1]}"


def _entries(arch, batch_norm):
    get_config(arch)
    return [entry for entry in CATALOGUE if (entry.arch, entry.batch_norm) == (arch, batch_norm)]
