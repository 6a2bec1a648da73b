"""A recipe: every choice that makes a training run, as one frozen dataclass. TOML in, TOML out. Imports no TensorFlow.

A recipe file holds the fields of `Recipe` at its top level; unknown keys are errors. A table `[paper]` may hold figures of
the paper that the recipe reproduces; it is data for people and tables and changes nothing in a run.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tomli_w

from keras_vgg import configs, optimizers, schedules
from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, PRECISIONS
from keras_vgg.recipe_bounds import AUTO, BALANCED, CONVOLUTIONS, MOMENTUM, bounds
from keras_vgg.regression import PCR, REGRESSIONS
from keras_vgg.support import cli, files, paths
from keras_vgg.tasks import LOCALISATION, TASKS

MADE_AGAIN = "The command of keras_vgg.fit that began the run makes it again."
"""What to do about a damaged small file of a run folder: a checkpoint has all that is in them."""
JIT_MULTIPLY_ADDS = 10**9
"""Multiply-adds an image from which compiling with XLA is the default: below, on two CPU cores, it gained nothing."""


_PAIRS = ("jitter", "rand_augment")


def _field(default, help: str, *, choices=None, machine: bool = False, path: bool = False, **flag):
    # `machine` marks what says how the work is done and not what comes out: it may change when a run is resumed. In `flag`,
    # `once` is what the field was called in earlier versions, whose recipes and commands are understood.
    metadata = {"help": help, "choices": choices, "machine": machine, "path": path, **flag}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run. Defaults are the paper's (Sec. 3.1); each field's help is in its metadata.

    >>> from keras_vgg.recipe import Recipe
    >>> recipe = Recipe(arch="VGG16", jitter=(256, 512))
    >>> recipe.arch, recipe.test_scale, recipe.batch_size
    ('D', 384, 256)

    Raises:
        InputError: (a `ValueError`) for a value that is out of range, or does not go with another; the line says what is expected.
    """

    arch: str = _field(
        "A", f"net of Table 1: {', '.join(configs.CONFIGS)}, or VGG11 … VGG19, with _bn behind it for batch norm (default: A)"
    )
    head: str | None = _field(
        None,
        "behind the convolutions: fc, the paper's FC layers, or pool, the mean over all places (default: fc, or as ARCH "
        "or the weights of --init-from say)",
        choices=configs.HEADS,
    )
    width: float = _field(1.0, "factor on all filters and FC sizes, for small machines")
    batch_norm: bool = _field(False, "batch normalisation before every ReLU of a convolution, as in torchvision's vgg*_bn")
    norm_group: int = _field(32, "examples of a batch that batch norm takes its statistics of, together")
    task: str = _field(
        "classification", "what is told of an image: its class, of each class whether it is there, or a box", choices=TASKS
    )
    regression: str | None = _field(
        None, "localisation: one box for all classes (scr), or a box for each (pcr, the default)", choices=tuple(REGRESSIONS)
    )
    dataset: str = _field(
        "digits",
        "digits, folder:PATH, csv:FILE, tfds:NAME[/CONFIG] or wds:PATH; for multi-label voc:PATH or tfds:voc/YEAR",
        path=True,
    )
    scale: int = _field(256, "training scale S: smallest side of the rescaled image, pixels")
    jitter: tuple[int, int] | None = _field(None, "draw S per image from [SMIN; SMAX] (scale jitter)", metavar=("SMIN", "SMAX"))
    crop: int = _field(configs.TRAINING_SIZE, "side of the square training crop, pixels")
    random_flip: bool = _field(True, "mirror half of the training images (off for the embedded digits)", once="flip")
    color: bool = _field(True, "random RGB colour shift along the principal components (off for the embedded digits)")
    color_statistics: str = _field(
        "dataset", "where colour mean and components come from: the training set, or ImageNet's", choices=("dataset", "imagenet")
    )
    rand_augment: tuple[int, int] | None = _field(
        None, "RandAugment: N operations an image, of the strength M, 0 to 10 as in its paper", metavar=("N", "M")
    )
    random_erasing: float = _field(0.0, "share of the training images of which a random rectangle is replaced by noise")
    mixup: float = _field(
        0.0, "MixUp: an image is blended with its neighbour in the batch, by a share from Beta(MIXUP, MIXUP) (0: off)"
    )
    cutmix: float = _field(0.0, "CutMix: the same with a rectangle of the neighbour; of both, each image has either (0: off)")
    sampling: str = _field("shuffled", "an epoch: every image once, or every class as often", choices=("shuffled", BALANCED))
    class_weights: str | None = _field(
        None,
        "factors on the losses of the classes: balanced (images / (classes * images of the class)), or a CSV FILE of class,weight",
        path=True,
    )
    batch_size: int = _field(256, "examples per weight update, over all replicas and micro-batches")
    epochs: int = _field(74, "most epochs; the plateau schedule may end the run before")
    optimizer: str = _field(optimizers.SGD, "what updates the weights, by Keras' name", choices=tuple(optimizers.RATES))
    learning_rate: float = _field(
        None,
        "initial learning rate (default: 0.01 for sgd, 0.0001 for lion, 0.001 for most; for localisation a tenth)",
    )
    layer_rate_decay: float = _field(1.0, "factor on the rate from each block of layers to the one before it, from the last on")
    head_rate: float = _field(1.0, "factor on the rate of the last layer, predictions, which is new where the classes are")
    schedule: str = _field("plateau", "how the learning rate goes on from there", choices=schedules.SCHEDULES)
    patience: int = _field(5, "plateau: epochs without a better validation figure before the rate drops")
    factor: float = _field(0.1, "plateau, step: what the rate is multiplied by")
    drops: int = _field(3, "plateau: how often the rate drops; the plateau after the last ends the run")
    step_epochs: int = _field(30, "step: epochs from one drop to the next")
    warmup_epochs: float = _field(0.0, "constant, step, cosine: epochs in which the rate rises to its height")
    momentum: float = _field(MOMENTUM, "momentum of sgd; the others have Keras' constants")
    weight_decay: float = _field(
        5e-4,
        "L2 multiplier, for sgd: it is added to the gradient, inside the momentum; for the others decoupled decay, times the rate",
    )
    clip_norm: float | None = _field(None, "largest norm of the gradient over all weights; a longer one is shortened to it")
    ema_momentum: float = _field(0.0, "average of the weights that is tested and kept: share that stays at an update (0: none)")
    dropout: float = _field(0.5, "dropout rate after fc1 and fc2, or after the mean over all places")
    label_smoothing: float = _field(0.0, "share of a target that is spread over all classes in training")
    init: str = _field("glorot", "initialisation of the kernels", choices=("glorot", "gaussian", "he"))
    init_deviation: float = _field(
        configs.GAUSSIAN_DEVIATION,
        "standard deviation of init gaussian; narrow nets keep their signal with 0.01 / sqrt(WIDTH)",
    )
    init_from: str | None = _field(
        None, "run folder or weight file to start from: net A for a deeper net, or the same net", path=True
    )
    init_preprocessing: str | None = _field(
        None, "what the weights of init_from want of an image, whatever their file says", choices=cli.PREPROCESSINGS
    )
    freeze: str | None = _field(
        None, "layers kept as init_from gives them: layers, blocks and ranges, e.g. block1-block4 or block1,block2_conv1"
    )
    tune: str | None = _field(
        None, "what learns of init_from's layers: all, or fc, which freezes the convolutions", choices=("all", "fc")
    )
    precision: str = _field(FLOAT32, "compute precision", choices=PRECISIONS)
    seed: int = _field(0, "seed of everything random")
    limit_images: int | None = _field(None, "use at most this many images of each split")
    max_bad_fraction: float = _field(
        0.01, "share of the training images, or of the validation images, that stops the run if they cannot be read", machine=True
    )
    micro_batch: str | int = _field(
        AUTO, "images that one replica takes at a time: a number, or auto for what fits", machine=True, parse=cli.number_or_auto
    )
    strategy: str = _field(
        AUTO, "how replicas are laid out", choices=(AUTO, "one-device", "mirrored", "multi-worker"), machine=True
    )
    replicas: int | None = _field(None, "replicas on this machine: GPUs, or logical CPU devices where there is none", machine=True)
    jit: bool | None = _field(None, "compile with XLA (default: where net and machine gain by it)", machine=True)
    checkpoint_minutes: float = _field(10.0, "minutes between checkpoints within an epoch", machine=True)

    def __post_init__(self):
        arch, with_batch_norm = configs.net_called(self.arch)
        if self.head in (None, *configs.HEADS):
            arch = configs.with_head(arch, self.head)
        object.__setattr__(self, "arch", arch)
        object.__setattr__(self, "batch_norm", self.batch_norm or with_batch_norm)
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            if choices and value not in (*choices, field.default):  # an optional choice may be none
                raise InputError(f"`{field.name}` must be one of {', '.join(choices)}. Received: {value!r}.")
        object.__setattr__(self, "head", "pool" if configs.get_config(arch).global_pooling else "fc")
        for name in _PAIRS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(value))  # TOML gives a list
        localises = self.task == LOCALISATION
        if self.learning_rate is None:
            rate = optimizers.RATES[self.optimizer]
            object.__setattr__(self, "learning_rate", rate / 10 if localises else rate)  # Appendix A
        if localises and self.regression is None:
            object.__setattr__(self, "regression", PCR)
        if self.tune == "fc" and self.freeze is None:
            object.__setattr__(self, "freeze", CONVOLUTIONS)
        for name, (holds, expected) in bounds(self).items():
            if not holds:
                raise InputError(f"`{name}` must be {expected}. Received: {getattr(self, name)!r}.")

    @property
    def net(self) -> str:
        """The net for people, e.g. `D` or `D BN`."""
        return f"{self.arch} BN" if self.batch_norm else self.arch

    @property
    def scales(self) -> tuple[int, int]:
        """Smallest and largest training scale S; equal without jitter."""
        return self.jitter or (self.scale, self.scale)

    @property
    def test_scale(self) -> int:
        """Validation scale Q: S, or the middle of the jitter range (Sec. 3.2)."""
        return sum(self.scales) // 2

    @property
    def group(self) -> int:
        """Examples that stand together in a micro-batch, since they are normalised or mixed together."""
        return math.lcm(self.norm_group if self.batch_norm else 1, 2 if self.mixup or self.cutmix else 1)

    def uses_jit(self, num_classes: int, prefers_xla: bool) -> bool:
        """Whether to compile with XLA: as `jit` says, or, unsaid, for large nets on a machine that `prefers_xla` for them."""
        if self.jit is not None:
            return self.jit
        return prefers_xla and self.multiply_adds(num_classes) >= JIT_MULTIPLY_ADDS

    def multiply_adds(self, num_classes: int) -> int:
        """Multiply-accumulate operations of the net for one image."""
        facts = configs.layer_facts(self.arch, input_shape=(self.crop, self.crop, 3), classes=num_classes, width=self.width)
        return sum(layer.multiply_adds for layer in facts)

    def experiment(self) -> dict:
        """The fields that decide what comes out of a run, without those that say on what it is computed."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata["machine"]}
        return values | ({"scale": None} if self.jitter else {})  # S is drawn, whatever a fixed one would be


def read_recipe(path: str | os.PathLike[str]) -> dict:
    """Returns the fields that a recipe file sets, the `[paper]` table left out.

    Raises:
        InputError: for a file that is missing or not TOML, an unknown key, or a value of the wrong type.
    """
    values = files.read_recipe_file(path)
    values.pop("paper", None)
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    values = called_as_now(values)
    if unknown := [key for key in values if key not in known]:
        raise InputError(f"Recipe {path} has unknown keys: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return {key: _typed(path, known[key], value) for key, value in values.items()}


def read_run_recipe(path: str | pathlib.Path) -> Recipe:
    """Returns the recipe that a run left in its folder.

    Raises:
        InputError: if it is damaged, be it only cut off: the last field of `Recipe` always stands at its end.
    """
    try:
        values = read_recipe(path)
    except InputError as error:
        raise InputError(f"{error} {MADE_AGAIN}") from error
    if (last := dataclasses.fields(Recipe)[-1].name) not in values:
        raise InputError(f"Recipe {path} must be whole. Received: one that is cut off before its last line, `{last}`. {MADE_AGAIN}")
    return resolve(values)


def called_as_now(values: Mapping) -> dict:
    """Returns fields of a recipe under their names of today, whatever an earlier version called them."""
    now = {once: field.name for field in dataclasses.fields(Recipe) if (once := field.metadata.get("once"))}
    return {now.get(name, name): value for name, value in values.items()}


def check_scales(given: Mapping, where: str) -> None:
    """Raises `InputError` if the fields `given`, of a recipe file or of the command line, hold both `scale` and `jitter`."""
    if {"scale", "jitter"} <= set(given):
        raise InputError(
            f"{where} must give `scale` or `jitter`: S is either fixed or drawn. Received: scale {given['scale']} and "
            f"jitter {' '.join(map(str, given['jitter']))}; leave one of them out."
        )


def _typed(path, field: dataclasses.Field, value):
    if names := field.metadata.get("metavar"):
        if isinstance(value, list) and len(value) == len(names) and all(type(each) is int for each in value):
            return tuple(value)
        raise InputError(f"Recipe {path}: `{field.name}` must be [{', '.join(names)}], two whole numbers. Received: {value!r}.")
    allowed = {int: (int,), float: (int, float), bool: (bool,), str: (str,), str | int: (str, int)}
    types = next(types for annotation, types in allowed.items() if field.type in (annotation, annotation | None))
    if type(value) not in types:
        names = " or ".join(dict.fromkeys(type_.__name__ for type_ in types))
        raise InputError(f"Recipe {path}: `{field.name}` must be {names}. Received: {value!r}.")
    if field.metadata["path"]:
        return paths.expanded(value)
    return float(value) if types == (int, float) else value


def resolve(*layers: Mapping) -> Recipe:
    """Returns the recipe of the defaults overridden by `layers` in order (a recipe file's fields, then flags).

    The embedded digits must not be mirrored and have no colour, so that for them both are off unless some
    layer asks for them. A fixed scale takes the place of an earlier layer's jitter, jitter that of a fixed scale, and which layers
    are tuned that of which are frozen.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for name, replaced in (("scale", "jitter"), ("jitter", "scale"), ("tune", "freeze")):
            if name in layer:
                values.pop(replaced, None)
        values |= layer
    if values.get("dataset", Recipe.dataset) == "digits":
        values = {"random_flip": False, "color": False} | values
    return Recipe(**values)


def to_toml(recipe: Recipe) -> str:
    """Returns `recipe` as TOML, so that `read_recipe` gives the same again; what is `None` is left out, and S beside jitter."""
    values = {key: value for key, value in dataclasses.asdict(recipe).items() if value is not None}
    if recipe.jitter:
        del values["scale"]
    return tomli_w.dumps(values)
