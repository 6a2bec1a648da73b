"""The forward pass of training: what is random in a layer, or depends on the other examples of a batch, is keyed and bounded."""

import keras

from keras_vgg.layers import keyed_dropout
from keras_vgg.training.batch_norm import normalize


def training_forward(model: keras.Model, images, keys, weights, *, seed: int, norm_group: int):
    """Runs a net of `build_vgg` in training mode.

    The models themselves hold ordinary `Dropout` and `BatchNormalization` layers, so that they load and train anywhere; here
    dropout is keyed by example, and batches are normalised in groups. Our nets are chains, so that a loop over their layers is the
    forward pass.

    Args:
        model: a net whose layers form a chain.
        images: `(m, height, width, C)` float, preprocessed.
        keys: `(m,)` int64 example keys.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place.
        seed: the run's seed.
        norm_group: examples that are normalised together, see `batch_norm`.

    Returns:
        `(outputs, moments)`: what the last layer puts out, `(m, units)`, and for each layer of batch norm that is trained the
        moments of `batch_norm.normalize`.
    """
    outputs, stream, moments = images, 0, []
    for layer in model.layers[1:]:  # the first is the input
        if isinstance(layer, keras.layers.Dropout):
            outputs = keyed_dropout(outputs, keys, rate=layer.rate, seed=seed, stream=stream)
            stream += 1
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            outputs, of_layer = normalize(layer, outputs, weights, norm_group)
            moments.append(of_layer)
        else:
            outputs = layer(outputs, training=False) if isinstance(layer, keras.layers.BatchNormalization) else layer(outputs)
    return outputs, moments
