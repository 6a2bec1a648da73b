"""How many images of a micro-batch fit in the memory of a replica."""

from collections.abc import Callable

import psutil
import tensorflow as tf

from keras_vgg import configs, optimizers
from keras_vgg.precision import FLOAT32
from keras_vgg.recipe import Recipe
from keras_vgg.support import gpu_memory

_KEPT = 2  # each layer's output and its gradient
_WEIGHT_COPIES = 4  # weights, summed gradient, gradient, and one for an all-reduce or a checkpoint; optimizer slots are extra
_SHARE = 0.6  # of the free memory; the rest is for convolution scratch space and the data pipeline
_CPU_BYTES = 2**31  # larger micro-batches gain nothing on a CPU: 16 images of net D at 224
_ASSUMED_GIB = 8  # of a GPU whose memory is unknown


def images_that_fit(recipe: Recipe, num_classes: int, replicas: int, local_replicas: int, say: Callable[[str], None]) -> int:
    """Returns the largest number of images whose activations fit, at least 1, estimated from the net's layers.

    Args:
        recipe: the run.
        num_classes: number of classes.
        replicas: replicas over all workers; several workers use a number that fits a small machine.
        local_replicas: replicas on this machine; on CPUs they share its memory.
        say: called with a line if the memory is unknown.
    """
    facts = dict(input_shape=(recipe.crop, recipe.crop, 3), classes=num_classes, width=recipe.width)
    value_bytes = 4 if recipe.precision == FLOAT32 else 2
    normed = 3 if recipe.batch_norm else 1  # convolution, normalization and ReLU have outputs of the same size
    per_image = _KEPT * value_bytes * normed * configs.activation_values(recipe.arch, **facts)
    weights = (_WEIGHT_COPIES + optimizers.SLOTS[recipe.optimizer]) * 4 * configs.parameter_count(recipe.arch, **facts)
    gpus = tf.config.get_visible_devices("GPU")
    if local_replicas < replicas:  # all workers must choose the same number without communication
        budget = _SHARE * _ASSUMED_GIB * 2**30 - weights if gpus else _CPU_BYTES
    elif gpus:
        budget = _SHARE * _gpu_bytes(gpus, say) - weights
    else:
        budget = min((_SHARE * psutil.virtual_memory().available) / local_replicas - weights, _CPU_BYTES)
    return max(1, int(budget // per_image))


def _gpu_bytes(gpus: list[tf.config.PhysicalDevice], say: Callable[[str], None]) -> int:
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    if known := gpu_memory.smallest(names):
        return known
    say(f"nvidia-smi does not report the memory of {names[0]}: assuming {_ASSUMED_GIB} GiB; if it has more, pass --micro-batch")
    return _ASSUMED_GIB * 2**30
