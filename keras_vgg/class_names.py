"""What the classes of a model are called, in label order: loaded nets and those of a run know it.

The names belong to the classifier and are kept by it, so that they hold for every model that has this layer.
"""

import weakref
from collections.abc import Iterable, Iterator

import keras

from keras_vgg.errors import InputError

_BY_LAYER: weakref.WeakKeyDictionary[keras.layers.Layer, tuple[str, ...]] = weakref.WeakKeyDictionary()


def for_model(model: keras.Model) -> tuple[str, ...]:
    """Returns what the classes of `model` are called, in label order.

    It is known for nets of a run, for those loaded from a run folder (`transfer.load_model`, `keras_vgg.applications`) or from a
    file that says it, and for models made of their layers.

    Raises:
        InputError: if it is not known, as for random weights.

    Example:
        >>> import keras_vgg
        >>> model = keras_vgg.models.build_vgg("A", input_shape=(32, 32, 3), classes=2, width=1 / 16)
        >>> keras_vgg.class_names.remember(model, ["cat", "dog"])  # which a loaded net says itself
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
        f"What the classes of model {model.name!r} are called is not known: its weights are random or came without it. "
        "Say it by keras_vgg.class_names.remember(model, names); of ImageNet's 1,000 applications.decode_predictions knows it."
    )


def known(model: keras.Model) -> tuple[str, ...] | None:
    """Returns as `for_model`, or `None` if it is not known."""
    layer = _classifier(model)
    return None if layer is None else _BY_LAYER.get(layer)


def remember(model: keras.Model, names: Iterable[str]) -> None:
    """Notes what the classes of `model` are called, for `for_model`.

    Args:
        model: the model, whose last layer with weights is its classifier.
        names: in label order.

    Raises:
        InputError: if they are not as many as the model has.
    """
    names, layer = tuple(names), _classifier(model)
    number = 0 if layer is None else _count(layer)
    if layer is None or len(names) != number:
        raise InputError(f"Every class of model {model.name!r} must have a name, {number} in all. Received: {len(names)} names.")
    _BY_LAYER[layer] = names


def adopt(model: keras.Model, names: Iterable[str] | None) -> None:
    """Notes what was found beside weights, if anything; names in another number are those of something else."""
    names, layer = tuple(names or ()), _classifier(model)
    if layer is not None and len(names) == _count(layer):
        _BY_LAYER[layer] = names


def _classifier(model) -> keras.layers.Layer | None:
    last = None
    for layer in _layers(model):
        last = layer if layer.weights else last
    return last


def _count(layer) -> int:
    return max(layer.weights[-1].shape[-1], 2)  # one sigmoid tells two classes


def _layers(model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
