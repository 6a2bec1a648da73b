"""Settings of merging, with their defaults. Imports no NumPy, since `--help` shows them."""

import dataclasses

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Merging:
    """How boxes become guesses.

    Attributes:
        threshold: maximum match score of merged boxes, in [0, 2), see `merging.merge`. The default was the best of 0.3, 0.5, 0.7,
            0.9 and 1.1 on images held out of the training set of Tiny ImageNet (recipes/README.md).
        classes: number of most probable classes whose boxes are used; at least 1. The default is the number of guesses that
            count; 10 were no better on the same images.
    """

    threshold: float = 0.5
    classes: int = 5

    def __post_init__(self):
        if type(self.threshold) not in (int, float) or not 0 <= self.threshold < 2:
            raise InputError(f"The merge threshold must be in [0, 2). Received: {self.threshold!r}.")
        if type(self.classes) is not int or self.classes < 1:
            raise InputError(f"The number of classes whose boxes are merged must be at least 1. Received: {self.classes!r}.")
