"""Computes the cost of each node of a study: images, multiply-adds, disk and memory. Imports no TensorFlow."""

import dataclasses

from keras_vgg import configs, optimizers
from keras_vgg.precision import FLOAT32
from keras_vgg.recipe import Recipe
from keras_vgg.reproduction.study import Study, Training

TRAINING_PASSES = 3
"""Cost of a training step in forward passes: the gradients of activations and of weights take one each."""

_CROPS = 25  # per scale (Sec. 3.2)
_FLOAT = 4  # bytes
_KEPT = 2  # output and gradient of every layer
_MEMORY_BATCH = 32  # images per micro-batch


@dataclasses.dataclass(frozen=True)
class Data:
    """Facts about a study's images.

    Attributes:
        train, validation, test: images for each use.
        classes: number of classes.
        image_bytes: mean size of an image file; 0 if unknown.
        aspect: mean ratio of the longer to the shorter side.
    """

    train: int
    validation: int
    test: int
    classes: int
    image_bytes: float = 0.0
    aspect: float = 1.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a node with one seed.

    Attributes:
        name: of the training.
        kind: `"train"`, `"test"` or `"start"`, a training of the initialization study.
        arch: the net.
        images: maximum number of images processed; a plateau may end a training earlier.
        multiply_adds: total multiply-accumulate operations, in units of a forward pass.
        disk: bytes that are kept.
        memory: bytes of weights, optimizer and a micro-batch of 32 images during training.
    """

    name: str
    kind: str
    arch: str
    images: int
    multiply_adds: float
    disk: int
    memory: int = 0


def costs_of(study: Study, data: Data) -> list[Cost]:
    """Returns the cost of every node with one seed: trainings, then tests, then those of the initialization study."""
    trainings = [_of_training(training, "train", data) for training in study.trainings.values()]
    tests = [_of_test(study, training, data) for training in study.trainings.values()]
    return trainings + tests + [_of_training(training, "start", data) for training in study.starts.values()]


def _of_training(training: Training, kind: str, data: Data) -> Cost:
    recipe = training.recipe
    trained, validated = recipe.epochs * data.train, recipe.epochs * data.validation
    parameters, slots = _parameters(recipe, data.classes), optimizers.SLOTS[recipe.optimizer]
    values = configs.activation_values(recipe.arch, **_shape(recipe, data.classes))
    value_bytes = _FLOAT if recipe.precision == FLOAT32 else _FLOAT // 2
    return Cost(
        name=training.name,
        kind=kind,
        arch=recipe.net,
        images=trained + validated,
        multiply_adds=recipe.multiply_adds(data.classes) * (TRAINING_PASSES * trained + validated),
        disk=_FLOAT * parameters * (1 + slots + 2),  # the checkpoint, best.keras and last.keras
        memory=_FLOAT * parameters * (3 + slots) + _KEPT * value_bytes * values * _MEMORY_BATCH,
    )


def _of_test(study: Study, training: Training, data: Data) -> Cost:
    recipe = training.recipe
    passes = {(kind, q) for row in study.tests_of(training.name) for kind in _kinds(row.protocol) for q in row.scales[0] or ()}
    each = sum(_of_pass(recipe, data, kind, q) for kind, q in passes)
    rows = len(study.tests_of(training.name))
    flips = {row.flip for row in study.tests_of(training.name)} - {None}
    mirrored = 2 if (flips.pop() if flips else recipe.random_flip) else 1
    return Cost(
        name=training.name,
        kind="test",
        arch=recipe.net,
        images=len(passes) * data.test,
        multiply_adds=float(mirrored * data.test * each),
        disk=_FLOAT * data.test * data.classes * (len(passes) + rows),
    )


def _kinds(protocol: str) -> tuple[str, ...]:
    return ("dense", "multi-crop") if protocol == "both" else (protocol,)


def _of_pass(recipe: Recipe, data: Data, kind: str, scale: int) -> float:
    """Returns the multiply-adds of one view of an image."""
    if kind != "dense":
        return recipe.multiply_adds(data.classes) * (_CROPS if kind == "multi-crop" else 1)
    sides = scale, round(scale * data.aspect)
    config = configs.get_config(recipe.arch)
    of_crop = configs.layer_facts(recipe.arch, **_shape(recipe, data.classes))
    convolutions = sum(layer.multiply_adds for layer in of_crop if layer.receptive_field)
    connected = sum(layer.multiply_adds for layer in of_crop if not layer.receptive_field)
    places = 1
    for side in sides:
        places *= max(1, (side - recipe.crop) // config.stride + 1)
    return convolutions * sides[0] * sides[1] / recipe.crop**2 + connected * places


def _shape(recipe: Recipe, classes: int) -> dict:
    return {"input_shape": (recipe.crop, recipe.crop, 3), "classes": classes, "width": recipe.width}


def _parameters(recipe: Recipe, classes: int) -> int:
    return configs.parameter_count(recipe.arch, **_shape(recipe, classes))
