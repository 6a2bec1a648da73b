"""How long a run will take, said before its first update: computed work over the measured speed of this machine."""

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

import tensorflow as tf

from keras_vgg import configs, schedules
from keras_vgg.recipe import Recipe
from keras_vgg.support.progress import duration, speed
from keras_vgg.training.cluster import Cluster

_WORTH_MEASURING = 1e13  # multiply-adds; a minute or more on two cores
_LONG = 600.0  # seconds
_SMALLEST, _LARGEST = 512, 8192  # sides of square matrices
_MEASURABLE = 0.02  # seconds


class Work(NamedTuple):
    """The computation of a run.

    Attributes:
        images: numbers of training and validation images.
        epochs: number of epochs to train.
        forward: multiply-adds for a validation image.
        training: multiply-adds for a training image, forward and back.
    """

    images: tuple[int, int]
    epochs: int
    forward: int
    training: int

    @property
    def total(self) -> int:
        """Multiply-adds of the run."""
        return self.epochs * (self.images[0] * self.training + self.images[1] * self.forward)


def work_of(recipe: Recipe, num_classes: int, images: tuple[int, int], epochs: int, frozen: Collection[str]) -> Work:
    """Returns the work of `epochs` epochs, in which layers of the names `frozen` keep their weights."""
    return Work(images, epochs, *multiply_adds(recipe, num_classes, frozen))


def tell(recipe: Recipe, work: Work, cluster: Cluster, say: Callable[[str], None]) -> None:
    """Says about how long a run takes, if that is ten minutes or more: a machine that is busy only now seems slower than it is.

    Args:
        recipe: the run.
        work: its work.
        cluster: the devices.
        say: called with each line that the user should read.
    """
    if work.total < _WORTH_MEASURING:
        return
    rate = multiply_adds_per_second(recipe.precision, cluster)
    if (seconds := work.total / rate) < _LONG:
        return
    early = "; the plateau schedule may end the run earlier" if recipe.schedule == schedules.PLATEAU else ""
    say(
        f"expect about {duration(seconds)} for {work.epochs} epochs on this machine, whose matrix products reach "
        f"{speed(rate / 1e9)} G multiply-adds/s: {work.images[0]:,} images with {speed(work.training / 1e9)} G each, forward and "
        f"back{early}"
    )
    if recipe.dataset == "digits":
        say(
            f"Warning: these images are digits of 8x8 pixels, enlarged to crops of {recipe.crop}x{recipe.crop}; "
            "--recipe quickstart trains on them within minutes, --dataset tfds:imagenet2012 on ImageNet"
        )


def multiply_adds(recipe: Recipe, num_classes: int, frozen: Collection[str]) -> tuple[int, int]:
    """Returns the multiply-adds of a net for one image: forward, and forward and back.

    Back, a layer computes the gradient of its weights if they are trained, and that of its input if a layer before it is trained.
    """
    facts = configs.layer_facts(recipe.arch, input_shape=(recipe.crop, recipe.crop, 3), classes=num_classes, width=recipe.width)
    training, reached = 0, False
    for layer in facts:
        if layer.parameters:
            is_trained = layer.name not in frozen
            training += layer.multiply_adds * (1 + is_trained + reached)
            reached = reached or is_trained
    return sum(layer.multiply_adds for layer in facts), training


def multiply_adds_per_second(precision: str, cluster: Cluster) -> float:
    """Returns the speed of matrix products in a precision on all devices, measured on those of this worker, or on one GPU."""
    device, side = "GPU" if tf.config.get_visible_devices("GPU") else "CPU", _SMALLEST
    with tf.device(f"{device}:0"):
        while (seconds := _seconds_of_product(side, precision)) < _MEASURABLE and side < _LARGEST:
            side *= 2
    # Replicas on a CPU share its cores.
    return side**3 / seconds * cluster.replicas / (1 if device == "GPU" else len(cluster.my_replicas))


def _seconds_of_product(side: int, precision: str) -> float:
    matrix = tf.cast(tf.random.stateless_uniform([side, side], [0, 0]), precision.removeprefix("mixed_"))
    seconds = []
    for _ in range(3):  # the first is slower
        begun = time.perf_counter()
        tf.reduce_max(tf.linalg.matmul(matrix, matrix)).numpy()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
