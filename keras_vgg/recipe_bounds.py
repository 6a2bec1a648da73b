"""Checks of the values of a recipe's fields, alone and in combination. Imports no TensorFlow."""

import math
from typing import TYPE_CHECKING

from keras_vgg import configs, optimizers, schedules
from keras_vgg.precision import FLOAT32
from keras_vgg.tasks import LOCALISATION

if TYPE_CHECKING:
    from keras_vgg.recipe import Recipe

AUTO = "auto"
BALANCED = "balanced"
RING, NCCL = "ring", "nccl"
CONVOLUTIONS = "convolutions"
"""Value of `freeze` that stands for all five blocks."""

MOMENTUM = 0.9

Bounds = dict[str, tuple[bool, str]]
"""By field: whether its value is valid, and a description of the valid values."""


def bounds(recipe: "Recipe") -> Bounds:
    """Returns whether each restricted field of a recipe is valid, with a description of its valid values."""
    parts = (_of_net, _of_task, _of_views, _of_updates, _of_schedule, _of_the_run)
    return {name: bound for part in parts for name, bound in part(recipe).items()}


def _of_net(recipe: "Recipe") -> Bounds:
    """The net and its initial weights."""
    return {
        "head": (
            recipe.task != LOCALISATION or recipe.head == "fc",
            "fc for the task localisation, since global average pooling discards positions",
        ),
        "width": (0 < recipe.width < math.inf, "positive"),
        "dropout": (0 <= recipe.dropout < 1, "in [0, 1)"),
        "norm_group": (recipe.norm_group >= 1, "at least 1"),
        "init_preprocessing": (
            recipe.init_preprocessing is None or recipe.init_from is not None,
            "given together with `init_from`, whose weights it describes",
        ),
    }


def _of_task(recipe: "Recipe") -> Bounds:
    """The task, the trained layers and the sampling of images."""
    one_class, localises = recipe.task == "classification", recipe.task == LOCALISATION
    return {
        "regression": (recipe.regression is None or localises, "used only with the task localisation"),
        "tune": (
            recipe.tune is None
            or (recipe.init_from is not None and recipe.freeze == (CONVOLUTIONS if recipe.tune == "fc" else None)),
            "given together with `init_from`, whose layers it selects, and without `freeze`",
        ),
        "freeze": (
            recipe.freeze is None or recipe.init_from is not None,
            "given together with `init_from`: randomly initialized layers must be trained",
        ),
        "class_weights": (
            recipe.class_weights is None or (one_class and (recipe.class_weights, recipe.sampling) != (BALANCED, BALANCED)),
            "used only with the task classification (one class per image), and not be balanced if `sampling` is",
        ),
        "sampling": (
            recipe.sampling != BALANCED or one_class or localises,
            f"shuffled for the task {recipe.task}, whose images have several classes",
        ),
    }


def _of_views(recipe: "Recipe") -> Bounds:
    """Views of images and their augmentation."""
    config, localises = configs.get_config(recipe.arch), recipe.task == LOCALISATION
    smallest, largest = recipe.scales if len(recipe.scales) == 2 else (1, 0)
    return {
        "crop": (recipe.crop >= config.side(), f"at least {config.side()} pixels: {config.halvings} halve it"),
        "jitter": (
            recipe.jitter is None or recipe.crop <= smallest <= largest,
            f"SMIN SMAX with crop {recipe.crop} <= SMIN <= SMAX",
        ),
        "scale": (
            recipe.jitter is not None or recipe.scale >= recipe.crop,
            f"at least the crop size, {recipe.crop} (or use a smaller crop)",
        ),
        "label_smoothing": (
            0 <= recipe.label_smoothing < 1 and not (localises and recipe.label_smoothing),
            "in [0, 1), and 0 for the task localisation",
        ),
        "rand_augment": (
            recipe.rand_augment is None
            or (
                not localises
                and len(recipe.rand_augment) == 2
                and recipe.rand_augment[0] >= 1
                and 0 <= recipe.rand_augment[1] <= 10
            ),
            "N M with N >= 1 and M in [0, 10], and unset for the task localisation, since it moves objects",
        ),
        "random_erasing": (0 <= recipe.random_erasing <= 1, "in [0, 1]"),
        **{
            name: (
                0 <= value < math.inf and not (localises and value),
                "zero or positive, and 0 for the task localisation",
            )
            for name, value in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix))
        },
    }


def _of_updates(recipe: "Recipe") -> Bounds:
    """Batches and weight updates."""
    group = max(recipe.group, 1)
    together = (
        f"`norm_group`, {group}"
        if group == recipe.norm_group and recipe.batch_norm
        else f"{group}, since images are mixed in pairs"
    )
    return {
        "batch_size": (recipe.batch_size >= 1, "at least 1"),
        "micro_batch": (
            recipe.micro_batch == AUTO
            or (isinstance(recipe.micro_batch, int) and recipe.micro_batch in range(group, 2**31, group)),
            f"a multiple of {together}, or 'auto'" if group > 1 else "a positive number or 'auto'",
        ),
        "clip_norm": (recipe.clip_norm is None or 0 < recipe.clip_norm < math.inf, "positive"),
        "ema_momentum": (0 <= recipe.ema_momentum < 1, "in [0, 1)"),
        "layer_rate_decay": (0 < recipe.layer_rate_decay <= 1, "in (0, 1]"),
        "head_rate": (0 < recipe.head_rate < math.inf, "positive"),
        "init_deviation": (
            0 < recipe.init_deviation < math.inf
            and (recipe.init == "gaussian" or recipe.init_deviation == configs.GAUSSIAN_DEVIATION),
            "positive, and set only with init gaussian",
        ),
        "momentum": (
            0 <= recipe.momentum < 1 and (recipe.optimizer == optimizers.SGD or recipe.momentum == MOMENTUM),
            "in [0, 1), and set only with the optimizer sgd",
        ),
        "weight_decay": (0 <= recipe.weight_decay < math.inf, "zero or positive"),
    }


def _of_schedule(recipe: "Recipe") -> Bounds:
    """The learning rate schedule."""
    return {
        "epochs": (recipe.epochs >= 1, "at least 1"),
        "learning_rate": (0 < recipe.learning_rate < math.inf, "positive"),
        "patience": (recipe.patience >= 1, "at least 1"),
        "factor": (0 < recipe.factor < 1, "in (0, 1)"),
        "drops": (recipe.drops >= 0, "zero or positive"),
        "step_epochs": (recipe.step_epochs >= 1, "at least 1"),
        "warmup_epochs": (
            0 <= recipe.warmup_epochs < recipe.epochs and not (recipe.warmup_epochs and recipe.schedule == schedules.PLATEAU),
            f"zero or positive, less than the {recipe.epochs} epochs, and zero with the plateau schedule, which has no warm-up",
        ),
    }


def _of_the_run(recipe: "Recipe") -> Bounds:
    """Data, devices and files."""
    return {
        "tf32": (not recipe.tf32 or recipe.precision == FLOAT32, f"set only with precision {FLOAT32}"),
        "seed": (0 <= recipe.seed < 2**40, "in [0, 2**40)"),
        "limit_images": (recipe.limit_images is None or recipe.limit_images >= 1, "at least 1"),
        "max_bad_fraction": (0 <= recipe.max_bad_fraction <= 1, "in [0, 1]"),
        "replicas": (recipe.replicas is None or recipe.replicas >= 1, "at least 1"),
        "deterministic": (
            not (recipe.deterministic and recipe.jit),
            "used without `jit`, since XLA has no deterministic gradient of max pooling",
        ),
        "checkpoint_minutes": (recipe.checkpoint_minutes > 0, "positive"),
    }
