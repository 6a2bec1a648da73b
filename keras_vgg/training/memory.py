"""Chooses the micro-batch size by the memory of a replica."""

import subprocess

import psutil
import tensorflow as tf

from keras_vgg import configs, optimizers
from keras_vgg.recipe import Recipe

_KEPT = 2  # each layer's output and its gradient
_WEIGHT_COPIES = 4  # weights, summed gradient, gradient, and one for an all-reduce or a checkpoint; optimizer slots are extra
_SHARE = 0.6  # of the free memory; the rest is for convolution scratch space and the data pipeline
_CPU_BYTES = 2**31  # larger micro-batches gain nothing on a CPU: 16 images of net D at 224
_UNKNOWN_GPU_BYTES = 8 * 2**30


def auto_micro_batch(recipe: Recipe, num_classes: int, replicas: int, local_replicas: int) -> int:
    """Returns the largest power of two whose activations fit, at most a replica's share of the batch, in whole groups.

    The estimate is computed from the net's layers. Several workers use a size that fits a small machine.

    Args:
        recipe: the run.
        num_classes: number of classes.
        replicas: replicas over all workers.
        local_replicas: replicas on this machine; on CPUs they share its memory.
    """
    facts = dict(input_shape=(recipe.crop, recipe.crop, 3), classes=num_classes, width=recipe.width)
    value_bytes = 4 if recipe.precision == "float32" else 2
    normed = 3 if recipe.batch_norm else 1  # convolution, normalization and ReLU have outputs of the same size
    per_image = _KEPT * value_bytes * normed * configs.activation_values(recipe.arch, **facts)
    weights = (_WEIGHT_COPIES + optimizers.SLOTS[recipe.optimizer]) * 4 * configs.parameter_count(recipe.arch, **facts)
    gpus = bool(tf.config.list_physical_devices("GPU"))
    if local_replicas < replicas:  # all workers must choose the same number without communication
        budget = _SHARE * _UNKNOWN_GPU_BYTES - weights if gpus else _CPU_BYTES
    elif gpus:
        budget = _SHARE * _gpu_bytes() - weights
    else:
        budget = min((_SHARE * psutil.virtual_memory().available) / local_replicas - weights, _CPU_BYTES)
    fits = max(1, int(budget // per_image))
    share = -(-recipe.batch_size // replicas)
    most = min(share, 2 ** (fits.bit_length() - 1))
    return -(-most // recipe.group) * recipe.group  # groups are whole


def _gpu_bytes() -> int:
    """Returns the memory of the smallest GPU by the driver's tool: TensorFlow only reports the memory in use."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return _UNKNOWN_GPU_BYTES
    return min(int(line) for line in answer.split()) * 2**20
