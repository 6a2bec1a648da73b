"""Class names of models, in label order: they are known for loaded nets and those of a run.

The names are attached to the classifier layer, so that they apply to every model that shares it.
"""

import weakref
from collections.abc import Iterable, Iterator

import keras

from keras_vgg.errors import InputError

_BY_LAYER: weakref.WeakKeyDictionary[keras.layers.Layer, tuple[str, ...]] = weakref.WeakKeyDictionary()


def for_model(model: keras.Model) -> tuple[str, ...]:
    """Returns the class names of `model`, in label order.

    They are known for nets of a run, for those loaded from a run folder (`transfer.load_model`, `keras_vgg.applications`) or from
    a file that records them, and for models made of their layers.

    Raises:
        InputError: if they are not known, as for random weights.

    Example:
        >>> import keras_vgg
        >>> model = keras_vgg.models.build_vgg("A", input_shape=(32, 32, 3), classes=2, width=1 / 16)
        >>> keras_vgg.class_names.remember(model, ["cat", "dog"])  # a loaded net has them already
        >>> keras_vgg.class_names.for_model(model)
        ('cat', 'dog')
        >>> posteriors = model(keras_vgg.preprocessing.TORCH([[[[0, 0, 0]] * 32] * 32]))
        >>> [(best, worst)] = keras_vgg.applications.decode_predictions(posteriors, classes=model)
        >>> sorted([best[1], worst[1]])
        ['cat', 'dog']
    """
    if names := known(model):
        return names
    raise InputError(
        f"The class names of model {model.name!r} are not known: its weights are random or came without names. Set them with "
        "keras_vgg.class_names.remember(model, names); for ImageNet's 1,000 classes use applications.decode_predictions."
    )


def known(model: keras.Model) -> tuple[str, ...] | None:
    """Returns the names as `for_model`, or `None` if they are not known."""
    layer = _classifier(model)
    return None if layer is None else _BY_LAYER.get(layer)


def remember(model: keras.Model, names: Iterable[str]) -> None:
    """Sets the class names of `model`, for `for_model`.

    Args:
        model: the model, whose last layer with weights is its classifier.
        names: in label order.

    Raises:
        InputError: if their number is not the model's number of classes.
    """
    names, layer = tuple(names), _classifier(model)
    number = 0 if layer is None else _count(layer)
    if layer is None or len(names) != number:
        raise InputError(f"Model {model.name!r} must have {number} class names, one for each class. Received: {len(names)} names.")
    _BY_LAYER[layer] = names


def adopt(model: keras.Model, names: Iterable[str] | None) -> None:
    """Sets names that were found beside weights, if any; ignores them if their number does not match."""
    names, layer = tuple(names or ()), _classifier(model)
    if layer is not None and len(names) == _count(layer):
        _BY_LAYER[layer] = names


def _classifier(model) -> keras.layers.Layer | None:
    last = None
    for layer in _layers(model):
        last = layer if layer.weights else last
    return last


def _count(layer) -> int:
    return max(layer.weights[-1].shape[-1], 2)  # a single sigmoid distinguishes two classes


def _layers(model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
