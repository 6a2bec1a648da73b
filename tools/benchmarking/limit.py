"""The lower bound of every contestant's time: each convolution and each matrix product of the net alone, summed up.

They are TensorFlow's own operations, computed by oneDNN on a CPU, with activations and weights in the layout and precision that a
net passes to them. Each runs repeatedly by itself, so that its weights are as close as possible; nothing else is computed: no
bias, activation, pooling, loss or weight update, and no cast of weights.
"""

import math
import time

import keras
import tensorflow as tf

from benchmarking import over_images, products
from benchmarking.contest import peak_bytes
from benchmarking.pictures import CLASSES, FolderSettings, NetSettings
from benchmarking.products import FORWARD, TO_INPUTS, TO_WEIGHTS, Layer, Product

LEAST_SECONDS = 0.1
"""Minimum duration of each measurement of a product."""

_GIGA = 1e9


class Products:
    """Products of one net, ready to be timed.

    Args:
        wanted: the products.
        precision: Keras' dtype policy of the net.
    """

    def __init__(self, wanted: list[Product], precision: str):
        operands: dict[tuple[Layer, str], tf.Tensor] = {}  # shared by the directions of a layer
        self._calls = []
        for product in wanted:
            operation, names = OPERATIONS[product.layer.is_convolution, product.direction]
            for name in names:
                if (product.layer, name) not in operands:
                    operands[product.layer, name] = _random(getattr(product.layer, name), dtype_of(product.layer, precision))
            self._calls.append(_traced(operation, product.layer, [operands[product.layer, name] for name in names]))
        for call in self._calls:
            call()  # traces and, on some devices, compiles
        self._estimates = [_seconds(call, 1) for call in self._calls]
        self.multiply_adds = sum(product.layer.multiply_adds for product in wanted)
        self.note = f"{len(wanted)} products, {2 * self.multiply_adds / _GIGA:.3g} GFLOP"

    def seconds(self, times: int) -> float:
        """Returns the total seconds of all products, each the mean over at least `times` calls."""
        total = 0.0
        for place, call in enumerate(self._calls):
            count = max(times, math.ceil(LEAST_SECONDS / self._estimates[place]))
            total += _seconds(call, count) / count
        return total


def dtype_of(layer: Layer, precision: str) -> str:
    """Returns the dtype that a layer's product is computed in under a dtype policy."""
    return "float32" if layer.keeps_float32 else keras.DTypePolicy(precision).compute_dtype


def _convolve(layer, inputs, weights):
    return tf.nn.conv2d(inputs, weights, layer.stride, "SAME")


def _convolve_to_inputs(layer, outputs, weights):
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=layer.inputs, filter=weights, out_backprop=outputs, strides=_strides(layer), padding="SAME"
    )


def _convolve_to_weights(layer, inputs, outputs):
    return tf.raw_ops.Conv2DBackpropFilter(
        input=inputs, filter_sizes=layer.weights, out_backprop=outputs, strides=_strides(layer), padding="SAME"
    )


def _strides(layer):
    return [1, layer.stride, layer.stride, 1]


OPERATIONS = {
    (True, FORWARD): (_convolve, ("inputs", "weights")),
    (True, TO_INPUTS): (_convolve_to_inputs, ("outputs", "weights")),
    (True, TO_WEIGHTS): (_convolve_to_weights, ("inputs", "outputs")),
    (False, FORWARD): (lambda layer, inputs, weights: tf.matmul(inputs, weights), ("inputs", "weights")),
    (False, TO_INPUTS): (lambda layer, outputs, weights: tf.matmul(outputs, weights, transpose_b=True), ("outputs", "weights")),
    (False, TO_WEIGHTS): (lambda layer, inputs, outputs: tf.matmul(inputs, outputs, transpose_a=True), ("inputs", "outputs")),
}
"""By kind and direction: the operation, and its operands by their names in `Layer`; `outputs` stands for their gradient."""


def _random(shape, dtype):
    return tf.cast(tf.random.stateless_uniform(shape, (0, 0), -1.0, 1.0), dtype)


def _traced(operation, layer, operands):
    # A graph, as in nets, rather than eager calls. Operands are arguments, since constants would be folded. Each call computes
    # the result anew; within one graph, identical operations would be computed once.
    function = tf.function(lambda *tensors: operation(layer, *tensors), autograph=False).get_concrete_function(*operands)
    return lambda: function(*operands)


def _seconds(call, times: int) -> float:
    tf.test.experimental.sync_devices()
    began = time.perf_counter()
    for _ in range(times):
        call()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - began


class _OfBatches:
    """The products of a net, once for each micro-batch."""

    processes = 0

    def __init__(self, settings: NetSettings | FolderSettings, wanted):
        images = (settings.micro_batch, settings.crop, settings.crop, 3)
        layers = products.layers(settings.arch, images, classes=settings.classes, width=settings.width)
        self._products = Products(wanted(layers), settings.precision)
        self._micro_batches = settings.micro_batches
        self.note = f"each alone: {self._products.note}"

    def run(self, steps: int) -> float:
        """Times the products and returns the seconds for those of `steps` batches."""
        times = steps * self._micro_batches
        return times * self._products.seconds(times)


class Training(_OfBatches):
    """The products of a weight update: forward, backward to the weights, and to the inputs except in the first layer."""

    def __init__(self, settings: NetSettings | FolderSettings):
        super().__init__(settings, products.training)


class SmallImages(Training):
    """Of a weight update of a narrow net on small images."""


class Forward(_OfBatches):
    """The products of a forward pass."""

    def __init__(self, settings: NetSettings):
        super().__init__(settings, products.forward)


def over_images_seconds(settings: over_images.Settings, protocol: str) -> dict:
    """Times the products of one of our protocols with flips, in the same batches of images."""
    before, seconds = peak_bytes(), 0.0
    for shape, times in over_images.batch_shapes(settings, protocol).items():
        computed = products.dense_layers(
            settings.arch, shape, crop=settings.crop, classes=CLASSES, width=settings.width, last=settings.layer
        )
        seconds += times * Products(products.forward(computed), settings.precision).seconds(1)
    return {"seconds": seconds, "idle bytes": before, "peak bytes": peak_bytes()}
