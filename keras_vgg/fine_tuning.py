"""What `fit` fills in where a run begins from given weights: their net and, for other classes, how to go on.

The paper's recipe is for 1.3 million images and random weights; on a small folder it destroys what a net has learnt in its first
updates. What is chosen here was tried on flowers17 (recipes/README.md says how, and what came out).
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from keras_vgg import optimizers, recipe
from keras_vgg.tasks import LOCALISATION, get_task
from keras_vgg.weights import loading, weight_file

_NET = ("arch", "batch_norm", "width")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A field of the recipe, its value, and why it is that."""

    field: str
    value: object
    reason: str

    @property
    def text(self) -> str:
        """The value as a flag takes it."""
        return " ".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)


_FROZEN = ((3_000, "block1-block4"), (30_000, "block1-block3"), (300_000, "block1-block2"))
"""What keeps its weights in sets of fewer training images than that: the fewer there are, the less can be learnt anew."""

_UPDATES, _MOST_EPOCHS = 450, 30
"""Updates that are aimed at in small sets, and most epochs that they may take."""

_FEWEST_EPOCHS = 3


def choices(images: int, optimizer: str = optimizers.SGD) -> list[Choice]:
    """Returns what is chosen for a data set of so many training images, and an optimizer by its name.

    >>> from keras_vgg.fine_tuning import choices
    >>> [(choice.field, choice.value) for choice in choices(1088)][:3]
    [('head', 'pool'), ('freeze', 'block1-block4'), ('init', 'gaussian')]
    """
    batch = 32
    epochs = max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, math.ceil(_UPDATES * batch / images)))
    frozen = next((layers for fewer, layers in _FROZEN if images < fewer), None)
    found = [
        Choice("head", "pool", "one light layer on the mean over all places"),
        Choice("freeze", frozen, f"as much as {images:,} images can teach") if frozen else None,
        Choice("init", "gaussian", "the new layer begins near zero, so that no large gradient runs into what is learnt"),
        Choice("batch_size", batch, "many updates an epoch"),
        Choice("learning_rate", optimizers.RATES[optimizer] / 10, "a tenth of the rate for random weights"),
        Choice("schedule", "cosine", "down to nothing within a known time"),
        Choice("epochs", epochs, f"about {_UPDATES} updates, at least {_FEWEST_EPOCHS} and at most {_MOST_EPOCHS} epochs"),
        Choice("jitter", (224, 320), "objects from whole to large"),
    ]
    return [choice for choice in found if choice]


def of_classifier(folder: pathlib.Path) -> list[Choice]:
    """Returns what a localiser takes over from the classifier that it begins from, where that is the run of a folder.

    As in the paper (Appendix A) it sees images as the classifier did; where that had scale jitter, at the middle of its range.
    """
    path = folder / "recipe.toml"
    begun = recipe.read_run_recipe(path) if path.exists() else None
    if begun is None:
        return []
    reason = "as the classifier saw images"
    found = [(name, getattr(begun, name)) for name in ("crop", "random_flip", "color")]
    return [Choice(name, value, reason) for name, value in [*found, ("scale", begun.test_scale)]]


def of_bare_convolutions(images: int) -> list[Choice]:
    """Returns what is chosen for a localiser that begins from convolutions alone, so that its FC layers are new, by the images.

    >>> from keras_vgg.fine_tuning import of_bare_convolutions
    >>> [(choice.field, choice.value) for choice in of_bare_convolutions(180)][:2]
    [('tune', 'fc'), ('init', 'gaussian')]
    """
    batch = 16
    epochs = max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, math.ceil(_UPDATES * batch / images)))
    return [
        Choice("tune", "fc", "the FC layers are new, and the convolutions know more than boxes can teach"),
        Choice("init", "gaussian", "new layers begin near zero"),
        Choice("dropout", 0.0, "with it boxes come out too small"),
        Choice("batch_size", batch, "many updates an epoch"),
        Choice("learning_rate", 1.5e-3, "with clipped gradients; a tenth of it learns too little in this time"),
        Choice("clip_norm", 1.0, "the first updates are the largest"),
        Choice("schedule", "cosine", "down to nothing within a known time"),
        Choice("epochs", epochs, f"about {_UPDATES} updates, at least {_FEWEST_EPOCHS} and at most {_MOST_EPOCHS} epochs"),
        Choice("crop", 128, "fc1 of a third of its size at 224, which few images can fill"),
        Choice("jitter", (144, 176), "objects in several sizes, and most of each in view"),
    ]


_REPLACED_BY = {
    "tune": ("freeze",),
    "crop": ("scale", "jitter"),
    "jitter": ("scale", "crop"),
    "scale": ("jitter",),
    "epochs": ("schedule",),
    "schedule": ("patience", "factor", "drops", "step_epochs"),
}
"""A choice is left alone, too, where one of these other fields is given, which says what it would."""


def left_open(found: Sequence[Choice], given: Mapping) -> list[Choice]:
    """Returns those choices that a user, who has given some fields, has left open."""
    return [choice for choice in found if not {choice.field, *_REPLACED_BY.get(choice.field, ())} & set(given)]


def of_run(run: pathlib.Path, given: Mapping, *, fine_tuning: bool) -> dict:
    """Returns what `of_weights` once said of a run: the fields of its recipe that are not `given`, or of its net alone.

    Of fields that say on what a run was computed there are none.
    """
    begun = recipe.read_run_recipe(run / "recipe.toml").experiment()
    wanted = begun if fine_tuning else _NET
    return {name: begun[name] for name in wanted if name not in given and begun[name] is not None}


def of_weights(given: Mapping, *, fine_tuning: bool) -> tuple[dict, list[Choice]]:
    """Returns which net the weights `init_from` are of, unless one is given, and what is chosen for going on from them.

    Args:
        given: fields of the recipe that somebody has given, `init_from` among them.
        fine_tuning: whether anything may be chosen beyond the net.

    Raises:
        InputError: if weights or data cannot be used.
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
    """Whether a net's classes are these, or, where it does not name them, as many."""
    if not file.include_top or file.regression:
        return False
    known = file.checked_classes()
    return set(known) == set(classes) if known else file.variables["predictions", "bias"].shape == (len(classes),)
