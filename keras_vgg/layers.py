"""The two operations that Keras has no layers for: LRN, and dropout keyed by example."""

import keras
import tensorflow as tf

from keras_vgg import randomness


@keras.saving.register_keras_serializable("keras_vgg")
class LocalResponseNormalization(keras.layers.Layer):
    """Krizhevsky's normalization across channels (net A-LRN, Sec. 2.1), with the paper's parameters.

    `y[c] = x[c] / (k + alpha * sum(x[c'] ** 2)) ** beta`, the sum over the `n` channels around `c`. The sum is not divided by
    `n`: Caffe does that, TensorFlow and Krizhevsky's paper do not.

    Args:
        k, n, alpha, beta: Krizhevsky's constants; `n` counts channels and must be odd.
        data_format: `"channels_last"` or `"channels_first"`; Keras' own setting by default.
    """

    def __init__(self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        if n < 1 or n % 2 == 0:
            raise ValueError(f"`n` must be an odd number of channels, to have a center. Received: n={n}.")
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta

    def call(self, inputs):
        """Normalises `(B, H, W, C)`, or `(B, C, H, W)`; same shape and dtype out."""
        if self.data_format == "channels_first":  # the op supports only channels_last
            return tf.transpose(self._normalize(tf.transpose(inputs, (0, 2, 3, 1))), (0, 3, 1, 2))
        return self._normalize(inputs)

    def _normalize(self, inputs):
        # The op does not support bfloat16, and squares overflow float16.
        outputs = tf.nn.local_response_normalization(
            tf.cast(inputs, tf.float32), depth_radius=self.n // 2, bias=self.k, alpha=self.alpha, beta=self.beta
        )
        return tf.cast(outputs, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Returns the input shape."""
        return input_shape

    def get_config(self):
        """Returns the constants, for saving."""
        constants = {"k": self.k, "n": self.n, "alpha": self.alpha, "beta": self.beta}
        return super().get_config() | constants | {"data_format": self.data_format}


def keyed_dropout(inputs, keys, *, rate: float, seed: int, stream: int):
    """Applies dropout (inverted, as in Keras) with a mask for each row that depends only on the row's key.

    Args:
        inputs: `(B, …)` activations.
        keys: `(B,)` int64 from `randomness.example_key`.
        rate: share of values set to zero, in [0, 1).
        seed: random seed of the run.
        stream: distinguishes the dropout layers of a net.

    Returns:
        `(B, …)` of the dtype of `inputs`, with kept values divided by `1 - rate`.
    """
    if rate == 0:
        return inputs
    draws = randomness.uniform(keys, inputs.shape[1:], seed=seed, stream=randomness.DROPOUT + stream)
    return tf.where(draws >= rate, inputs / (1 - rate), tf.zeros_like(inputs))
