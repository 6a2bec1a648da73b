"""Benchmarks as data: a dataset with its protocol, and the rows of a table."""

import dataclasses

from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.errors import InputError

PROTOCOLS = ("random", "fixed", "multi-label")
TEST_SETS = ("test", "val")


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A dataset and how nets are tested on it.

    Attributes:
        dataset: as for `keras_vgg.fit`; for `multi-label`, `voc:PATH` or `tfds:voc/YEAR`.
        protocol: `random`: training and validation images pooled, then `splits` random splits; `fixed`: training on the training
            split, testing on the validation split; `multi-label`: the sets of VOC.
        train_images: number per class in a random split.
        test_images: maximum number per class in a random split.
        splits: number of random splits.
        leave_out: classes to leave out, such as Caltech-101's `BACKGROUND_Google`, by case-insensitive name. The paper's 102 and
            257 classes include Caltech's background classes, so that by default all are used.
        test_set: for `multi-label`: `test` (trained on train and val, C chosen on val), or `val` if test images have no public
            annotations (trained on train only, C chosen on a fifth of it).
        descriptor: how an image becomes a descriptor.

    Raises:
        InputError: for values out of range.
    """

    dataset: str
    protocol: str
    train_images: int = 30
    test_images: int = 50
    splits: int = 3
    leave_out: tuple[str, ...] = ()
    test_set: str = "test"
    descriptor: DescriptorProtocol = dataclasses.field(default_factory=DescriptorProtocol)

    def __post_init__(self):
        for name, choices in (("protocol", PROTOCOLS), ("test_set", TEST_SETS)):
            if getattr(self, name) not in choices:
                raise InputError(f"`{name}` must be one of {', '.join(choices)}. Received: {getattr(self, name)!r}.")
        for name in ("train_images", "test_images", "splits"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1. Received: {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        data: name of the benchmark.
        models: names of the nets whose descriptors are stacked; empty for descriptors from a file.
        paper: by measure, the paper's figure in percent and its deviation or `None`.
    """

    data: str
    models: tuple[str, ...]
    paper: dict[str, tuple[float, float | None]] = dataclasses.field(default_factory=dict)
