"""The fields of a recipe: every setting of a training run in one frozen dataclass. Imports no TensorFlow."""

import dataclasses
import math

from keras_vgg import configs, optimizers, schedules
from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, PRECISIONS
from keras_vgg.recipe_bounds import AUTO, BALANCED, CONVOLUTIONS, MOMENTUM, NCCL, RING, bounds
from keras_vgg.regression import PCR, REGRESSIONS
from keras_vgg.support import cli
from keras_vgg.tasks import LOCALISATION, TASKS

JIT_MULTIPLY_ADDS = 10**9
"""Multiply-adds per image from which XLA compilation is the default: below that, it gained nothing on two CPU cores."""


_PAIRS = ("jitter", "rand_augment")

GROUPS = ("network", "data", "augmentation", "optimization", "schedule", "precision and devices", "run")
"""Groups of the fields in `fit --help`."""
NETWORK, DATA, AUGMENTATION, OPTIMIZATION, SCHEDULE, DEVICES, RUN = GROUPS


def _field(default, group: str, help: str, *, choices=None, machine: bool = False, path: bool = False, **flag):
    # `group` is one of `GROUPS`. `machine` marks a field that changes how the run is computed but not its result: it may change
    # when a run is resumed. In `flag`, `once` is the name of the field in earlier versions, and `also` other spellings of its
    # choices, which recipes and commands may use.
    metadata = {"group": group, "help": help, "choices": choices, "machine": machine, "path": path, **flag}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of one training run. Defaults are the paper's (Sec. 3.1); each field's help is in its metadata.

    >>> from keras_vgg.recipe import Recipe
    >>> recipe = Recipe(arch="VGG16", jitter=(256, 512))
    >>> recipe.arch, recipe.test_scale, recipe.batch_size
    ('D', 384, 256)

    Raises:
        InputError: (a `ValueError`) if a value is out of range or conflicts with another.
    """

    arch: str = _field(
        "A",
        NETWORK,
        f"network of Table 1: {', '.join(configs.CONFIGS)}, or VGG11 … VGG19, with suffix _bn for batch normalization "
        "(default: that of --init-from, or A)",
    )
    head: str | None = _field(
        None,
        NETWORK,
        "head after the convolutions: fc, the paper's FC layers, or pool, global average pooling (default: fc, or that of ARCH "
        "or of the --init-from weights)",
        choices=configs.HEADS,
    )
    width: float = _field(1.0, NETWORK, "factor on all filters and FC units, for small machines")
    batch_norm: bool = _field(False, NETWORK, "batch normalization before every ReLU of a convolution, as in torchvision's vgg*_bn")
    norm_group: int = _field(32, NETWORK, "examples of a batch that share batch normalization statistics")
    task: str = _field(
        "classification",
        DATA,
        "what to predict for an image: its class, the presence of each class, or a box",
        choices=TASKS,
        also={"localization": LOCALISATION},
    )
    regression: str | None = _field(
        None,
        NETWORK,
        "localisation: one box for all classes (scr) or one box per class (pcr) (default: pcr)",
        choices=tuple(REGRESSIONS),
    )
    dataset: str = _field(
        "digits",
        DATA,
        "dataset: digits, folder:PATH, csv:FILE, tfds:NAME[/CONFIG], tfds:PATH or wds:PATH; for multi-label voc:PATH or "
        "tfds:voc/YEAR; for localisation ilsvrc:PATH, voc:PATH, folder:PATH, csv:FILE or tfds:NAME, with boxes",
        path=True,
    )
    scale: int = _field(256, AUGMENTATION, "training scale S: smallest side of the rescaled image, in pixels")
    jitter: tuple[int, int] | None = _field(
        None, AUGMENTATION, "scale jitter: draw S per image from [SMIN; SMAX]", metavar=("SMIN", "SMAX")
    )
    crop: int = _field(configs.TRAINING_SIZE, AUGMENTATION, "side of the square training crop, in pixels")
    random_flip: bool = _field(
        True, AUGMENTATION, "horizontal flip of half of the training images (off for the embedded digits)", once="flip"
    )
    color: bool = _field(True, AUGMENTATION, "random RGB color shift along the principal components (off for the embedded digits)")
    color_statistics: str = _field(
        "dataset",
        AUGMENTATION,
        "source of the color mean and principal components: the training set or ImageNet",
        choices=("dataset", "imagenet"),
    )
    rand_augment: tuple[int, int] | None = _field(
        None,
        AUGMENTATION,
        "RandAugment: N operations per image, of magnitude M, 0 to 10 as in the RandAugment paper",
        metavar=("N", "M"),
    )
    random_erasing: float = _field(0.0, AUGMENTATION, "fraction of training images in which noise replaces a random rectangle")
    mixup: float = _field(
        0.0,
        AUGMENTATION,
        "MixUp: blend each image with its neighbor in the batch, with a share from Beta(MIXUP, MIXUP) (0: off)",
    )
    cutmix: float = _field(
        0.0, AUGMENTATION, "CutMix: the same with a rectangle of the neighbor; with both, each image gets one of them (0: off)"
    )
    sampling: str = _field(
        "shuffled", DATA, "images of an epoch: every image once, or every class equally often", choices=("shuffled", BALANCED)
    )
    class_weights: str | None = _field(
        None,
        DATA,
        "loss weights of the classes: balanced (images / (classes * images of the class)), or a CSV FILE of class,weight",
        path=True,
    )
    batch_size: int = _field(256, OPTIMIZATION, "examples per weight update, over all replicas and micro-batches")
    epochs: int = _field(74, SCHEDULE, "maximum number of epochs; the plateau schedule may end the run earlier")
    optimizer: str = _field(optimizers.SGD, OPTIMIZATION, "optimizer, by its Keras name", choices=tuple(optimizers.RATES))
    learning_rate: float = _field(
        None,
        SCHEDULE,
        "initial learning rate (default: 0.01 for sgd, 0.0001 for lion, 0.001 for most; a tenth of that for localisation)",
    )
    layer_rate_decay: float = _field(
        1.0, OPTIMIZATION, "learning rate multiplier from each block of layers to the block before it, starting at the last"
    )
    head_rate: float = _field(
        1.0, OPTIMIZATION, "learning rate multiplier of the last layer, predictions, which is new if the classes are"
    )
    schedule: str = _field("plateau", SCHEDULE, "learning rate schedule", choices=schedules.SCHEDULES)
    patience: int = _field(5, SCHEDULE, "plateau: epochs without a better validation metric before the learning rate drops")
    factor: float = _field(0.1, SCHEDULE, "plateau, step: learning rate multiplier at each drop")
    drops: int = _field(3, SCHEDULE, "plateau: number of drops; the plateau after the last one ends the run")
    step_epochs: int = _field(30, SCHEDULE, "step: epochs from one drop to the next")
    warmup_epochs: float = _field(
        0.0, SCHEDULE, "constant, step, cosine: epochs over which the learning rate rises to its full value"
    )
    momentum: float = _field(MOMENTUM, OPTIMIZATION, "momentum of sgd; the other optimizers use Keras' constants")
    weight_decay: float = _field(
        5e-4,
        OPTIMIZATION,
        "L2 multiplier for sgd, added to the gradient inside the momentum; for others decoupled decay, times the learning rate",
    )
    clip_norm: float | None = _field(
        None, OPTIMIZATION, "maximum norm of the gradient over all weights; longer gradients are scaled down to it"
    )
    ema_momentum: float = _field(
        0.0, OPTIMIZATION, "momentum of the moving average of the weights, which is tested and saved in their place (0: none)"
    )
    dropout: float = _field(0.5, OPTIMIZATION, "dropout rate after fc1 and fc2, or after global average pooling")
    label_smoothing: float = _field(0.0, OPTIMIZATION, "share of each target that training spreads over all classes")
    init: str = _field("glorot", NETWORK, "initialization of the kernels", choices=("glorot", "gaussian", "he"))
    init_deviation: float = _field(
        configs.GAUSSIAN_DEVIATION,
        NETWORK,
        "standard deviation of --init gaussian; 0.01 / sqrt(WIDTH) preserves the signal of narrow nets",
    )
    init_from: str | None = _field(
        None,
        NETWORK,
        "run directory, weight file or public name such as vgg16 to start from: net A for a deeper net, or the same net",
        path=True,
    )
    init_preprocessing: str | None = _field(
        None,
        NETWORK,
        "preprocessing of the --init-from weights (default: as their file records)",
        choices=cli.PREPROCESSINGS,
    )
    freeze: str | None = _field(
        None,
        NETWORK,
        "layers that keep their --init-from weights: layers, blocks and ranges, e.g. block1-block4 or block1,block2_conv1",
    )
    tune: str | None = _field(
        None,
        NETWORK,
        "--init-from layers to train: all, or fc, which freezes the convolutions (default: all)",
        choices=("all", "fc"),
    )
    precision: str = _field(FLOAT32, DEVICES, "compute precision", choices=PRECISIONS)
    tf32: bool = _field(
        False,
        DEVICES,
        "float32 products of factors rounded to 11 bits (TF32), for speed, on GPUs of compute capability 8.0 and later",
    )
    seed: int = _field(0, RUN, "random seed")
    limit_images: int | None = _field(None, DATA, "maximum number of images of each split (default: all)")
    max_bad_fraction: float = _field(
        0.01, DATA, "fraction of unreadable images in the training or the validation set above which the run stops", machine=True
    )
    micro_batch: str | int = _field(
        AUTO,
        DEVICES,
        "images per micro-batch on each replica: a number, or auto for an even share of the batch that fits in memory",
        machine=True,
        parse=cli.number_or_auto,
    )
    strategy: str = _field(
        AUTO, DEVICES, "distribution strategy", choices=(AUTO, "one-device", "mirrored", "multi-worker"), machine=True
    )
    replicas: int | None = _field(
        None,
        DEVICES,
        "replicas on this machine: GPUs, or logical CPU devices if there is no GPU (default: all GPUs, or one)",
        machine=True,
    )
    communication: str = _field(
        AUTO,
        DEVICES,
        "how several workers sum gradients: ring, over gRPC; nccl, between GPUs of which each is used by one worker; auto: nccl on "
        "machines with GPUs, else ring",
        choices=(AUTO, RING, NCCL),
        machine=True,
    )
    jit: bool | None = _field(None, DEVICES, "XLA compilation (default: where it speeds up the net on this machine)", machine=True)
    deterministic: bool | None = _field(
        None,
        DEVICES,
        "deterministic ops, which GPUs need for the same bits in every run, and which exclude XLA (default: on GPUs without XLA)",
        machine=True,
    )
    checkpoint_minutes: float = _field(10.0, RUN, "minutes between checkpoints within an epoch", machine=True)

    def __post_init__(self):
        arch, with_batch_norm = configs.net_called(self.arch)
        if self.head in (None, *configs.HEADS):
            arch = configs.with_head(arch, self.head)
        object.__setattr__(self, "arch", arch)
        object.__setattr__(self, "batch_norm", self.batch_norm or with_batch_norm)
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            if isinstance(value, str):
                value = field.metadata.get("also", {}).get(value, value)
                object.__setattr__(self, field.name, value)
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
        """Display name of the net, e.g. `D` or `D BN`."""
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
        """Number of consecutive examples that must share a micro-batch because they are normalized or mixed together."""
        return math.lcm(self.norm_group if self.batch_norm else 1, 2 if self.mixup or self.cutmix else 1)

    def uses_jit(self, num_classes: int, prefers_xla: bool) -> bool:
        """Whether to compile with XLA: the value of `jit` or, if `None`, true for large nets on a machine that `prefers_xla`.

        Deterministic ops exclude it.
        """
        if self.jit is not None:
            return self.jit
        return prefers_xla and not self.deterministic and self.multiply_adds(num_classes) >= JIT_MULTIPLY_ADDS

    def uses_deterministic_ops(self, jit: bool, gpus: bool) -> bool:
        """Whether to ask TensorFlow for deterministic ops: the value of `deterministic` or, if `None`, true on GPUs without XLA."""
        return gpus and not jit if self.deterministic is None else self.deterministic

    def multiply_adds(self, num_classes: int) -> int:
        """Multiply-accumulate operations of the net for one image."""
        facts = configs.layer_facts(self.arch, input_shape=(self.crop, self.crop, 3), classes=num_classes, width=self.width)
        return sum(layer.multiply_adds for layer in facts)

    def experiment(self) -> dict:
        """Returns the fields that determine the result of a run, without those that only affect how it is computed."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata["machine"]}
        return values | ({"scale": None} if self.jitter else {})  # S is drawn, so a fixed one has no effect
