"""Defaults of `fit` for a run from given weights: their net and, for other classes, settings for fine-tuning.

The paper's recipe is for 1.3 million images and random weights; on a small dataset its first updates destroy what the net has
learned. The settings here were tested on flowers17 (see recipes/README.md for method and results).
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from keras_vgg import optimizers, recipe
from keras_vgg.support.counts import counted
from keras_vgg.tasks import LOCALISATION, get_task
from keras_vgg.weights import loading, weight_file

_NET = ("arch", "batch_norm", "width")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A chosen field of the recipe, its value, and the reason."""

    field: str
    value: object
    reason: str

    @property
    def text(self) -> str:
        """The value in the syntax of its flag."""
        return " ".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)


_FROZEN = ((3_000, "block1-block4"), (30_000, "block1-block3"), (300_000, "block1-block2"))
"""Layers to freeze for fewer training images than the number: fewer images can train fewer layers."""

_UPDATES, _MOST_EPOCHS = 450, 30
"""Target number of updates for small datasets, and maximum number of epochs for it."""

_FEWEST_EPOCHS = 3


def choices(images: int, optimizer: str = optimizers.SGD) -> list[Choice]:
    """Returns the choices for a number of training images and an optimizer by its name.

    >>> from keras_vgg.fine_tuning import choices
    >>> [(choice.field, choice.value) for choice in choices(1088)][:3]
    [('head', 'pool'), ('freeze', 'block1-block4'), ('init', 'gaussian')]
    """
    batch = 32
    epochs = max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, math.ceil(_UPDATES * batch / images)))
    frozen = next((layers for fewer, layers in _FROZEN if images < fewer), None)
    found = [
        Choice("head", "pool", "one small layer after global average pooling"),
        Choice("freeze", frozen, f"{counted(images, 'image', separator=',')} can train only the other layers") if frozen else None,
        Choice("init", "gaussian", "the new layer starts near zero, so that no large gradient disturbs the pretrained layers"),
        Choice("batch_size", batch, "many updates per epoch"),
        Choice("learning_rate", optimizers.RATES[optimizer] / 10, "a tenth of the learning rate for random weights"),
        Choice("schedule", "cosine", "decays to zero within a fixed time"),
        Choice("epochs", epochs, f"about {_UPDATES} updates, at least {_FEWEST_EPOCHS} and at most {_MOST_EPOCHS} epochs"),
        Choice("jitter", (224, 320), "from whole objects to close-ups"),
    ]
    return [choice for choice in found if choice]


def of_classifier(folder: pathlib.Path) -> list[Choice]:
    """Returns the choices that a localizer inherits from the classifier that it starts from, if that is a run folder.

    As in the paper (Appendix A) the views are those of the classifier; with scale jitter, the scale is the middle of its range.
    """
    path = folder / "recipe.toml"
    begun = recipe.read_run_recipe(path) if path.exists() else None
    if begun is None:
        return []
    reason = "same as for the classifier"
    found = [(name, getattr(begun, name)) for name in ("crop", "random_flip", "color")]
    return [Choice(name, value, reason) for name, value in [*found, ("scale", begun.test_scale)]]


def of_bare_convolutions(images: int) -> list[Choice]:
    """Returns the choices for a localizer from pretrained convolutions with new FC layers, for a number of training images.

    >>> from keras_vgg.fine_tuning import of_bare_convolutions
    >>> [(choice.field, choice.value) for choice in of_bare_convolutions(180)][:2]
    [('tune', 'fc'), ('init', 'gaussian')]
    """
    batch = 16
    epochs = max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, math.ceil(_UPDATES * batch / images)))
    return [
        Choice("tune", "fc", "the FC layers are new, and boxes cannot improve the pretrained convolutions"),
        Choice("init", "gaussian", "new layers start near zero"),
        Choice("dropout", 0.0, "dropout makes boxes too small"),
        Choice("batch_size", batch, "many updates per epoch"),
        Choice("learning_rate", 1.5e-3, "suits clipped gradients; a tenth of it learns too little in this time"),
        Choice("clip_norm", 1.0, "the first updates are the largest"),
        Choice("schedule", "cosine", "decays to zero within a fixed time"),
        Choice("epochs", epochs, f"about {_UPDATES} updates, at least {_FEWEST_EPOCHS} and at most {_MOST_EPOCHS} epochs"),
        Choice("crop", 128, "fc1 has a third of its size at 224, which few images can train"),
        Choice("jitter", (144, 176), "objects at several sizes, each mostly in view"),
    ]


_REPLACED_BY = {
    "tune": ("freeze",),
    "crop": ("scale", "jitter"),
    "jitter": ("scale", "crop"),
    "scale": ("jitter",),
    "epochs": ("schedule",),
    "schedule": ("patience", "factor", "drops", "step_epochs"),
}
"""A choice is also dropped if the user sets one of these other fields, which conflict with it."""


def left_open(found: Sequence[Choice], given: Mapping) -> list[Choice]:
    """Returns the choices that the fields set by the user leave open."""
    return [choice for choice in found if not {choice.field, *_REPLACED_BY.get(choice.field, ())} & set(given)]


def of_run(run: pathlib.Path, given: Mapping, *, fine_tuning: bool) -> dict:
    """Returns the earlier result of `of_weights` for a run: the fields of its recipe that are not `given`, or only its net.

    Fields that only affect how a run is computed are omitted.
    """
    begun = recipe.read_run_recipe(run / "recipe.toml").experiment()
    wanted = begun if fine_tuning else _NET
    return {name: begun[name] for name in wanted if name not in given and begun[name] is not None}


def of_weights(given: Mapping, *, fine_tuning: bool) -> tuple[dict, list[Choice]]:
    """Returns the net of the weights `init_from`, unless one is given, and the choices for fine-tuning them.

    Args:
        given: fields of the recipe set by the user, including `init_from`.
        fine_tuning: whether to choose anything besides the net.

    Raises:
        InputError: if the weights or the dataset cannot be used.
    """
    file = weight_file.open_weights(given["init_from"])
    found = {} if "arch" in given else loading.build_arguments(file)
    net = {name: found[name] for name in _NET if name in found}
    if not fine_tuning:
        return net, []
    asked = recipe.resolve(net, given)
    if asked.task == LOCALISATION and file.include_top:
        return net, left_open(of_classifier(file.path.parent), dict(given))
    dataset = get_task(asked.task).open(asked.dataset, limit_images=asked.limit_images)
    if asked.task == LOCALISATION:
        return net, left_open(of_bare_convolutions(dataset.train.size), dict(given))
    if _knows(file, dataset.classes):
        return net, []
    return net, left_open(choices(dataset.train.size, asked.optimizer), dict(given))


def _knows(file: weight_file.WeightFile, classes: tuple[str, ...]) -> bool:
    """Whether a net has these classes or, if it does not name its classes, as many."""
    if not file.include_top or file.regression:
        return False
    known = file.checked_classes()
    return set(known) == set(classes) if known else file.variables["predictions", "bias"].shape == (len(classes),)
