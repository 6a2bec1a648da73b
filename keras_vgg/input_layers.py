"""Determines numerically what a model's own layers do to an image before its first convolution."""

from collections.abc import Iterator

import keras
import numpy as np

from keras_vgg.errors import InputError

_SIDE = 8  # side of the trial image where the model takes any size
_PLAIN = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Identity)


def affine_before(model: keras.Model, convolution: keras.layers.Layer) -> tuple[bool, np.ndarray, np.ndarray] | None:
    """Returns the layers before `convolution` as `scale * images[..., order] + offset`, channels last; `None` if there are none.

    Found by trial: only rescaling, normalization and a change of the color order have this form.

    Args:
        model: a functional or sequential model, possibly with nested models.
        convolution: its first one.

    Returns:
        Whether the channels are reversed, then scale and offset, `(3,)` float64 each, of the output channels.

    Raises:
        InputError: if they have another form.
    """
    steps = list(_steps(model, convolution))
    if not steps:
        return None
    first = convolution.data_format == "channels_first"
    shapes = [*[step.inputs[0].shape for step in steps if isinstance(step, keras.Model)][:1], convolution.input.shape]
    # Images of the size that the convolution gets are not changed by resizing.
    sides = next(((shape[2:] if first else shape[1:3]) for shape in shapes if None not in shape[1:4]), (None, None))
    images = np.random.default_rng(0).uniform(0, 255, (1, *(side or _SIDE for side in sides), 3)).astype(np.float32)
    try:
        outputs = np.moveaxis(images, -1, 1) if first else images
        for step in steps:
            outputs = step(outputs, training=False) if isinstance(step, keras.layers.Layer) else step(outputs)
        outputs = np.moveaxis(np.array(outputs), 1, -1) if first else np.array(outputs)
    except Exception as error:  # layers raise many kinds of exceptions for images they do not accept
        raise _other(model) from error
    pixels, found = images.reshape(-1, 3).astype(np.float64), outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)
    if found.shape != pixels.shape:
        raise _other(model)
    for turned in (False, True):
        given = pixels[:, ::-1] if turned else pixels
        middle = given.mean(axis=0)
        scale = np.einsum("pc,pc->c", given - middle, found) / np.sum((given - middle) ** 2, axis=0)
        offset = found.mean(axis=0) - scale * middle
        if np.all(scale > 0) and np.allclose(scale * given + offset, found, rtol=0, atol=1e-4 * np.ptp(found)):
            is_nothing = not turned and np.allclose(scale, 1) and np.allclose(offset, 0, atol=1e-4)
            return None if is_nothing else (turned, scale, offset)
    raise _other(model)


def _other(model) -> InputError:
    return InputError(
        f"The preprocessing of model {model.name!r} is unknown: the layers before its first convolution change more than "
        "scale, mean or color order. Pass it the inputs that its first layers expect."
    )


def _steps(model, convolution) -> Iterator:
    """Yields the consecutive models and layers from the images to the convolution that change anything."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    holder = next((layer for layer in layers if layer is convolution or _holds(layer, convolution)), None)
    if isinstance(model, keras.Sequential):
        before = layers[: layers.index(holder)]
        yield from (layer for layer in before if not isinstance(layer, _PLAIN))
    elif getattr(model, "outputs", None):
        given, is_changed = _input_of(model, holder)
        if is_changed and len(model.inputs) == 1:
            yield keras.Model(model.inputs[0], given)
    if holder is not convolution:
        yield from _steps(holder, convolution)


def _holds(layer, convolution) -> bool:
    return isinstance(layer, keras.Model) and any(each is convolution or _holds(each, convolution) for each in layer.layers)


def _input_of(model, holder):
    """Returns the input tensor of `holder` in a functional model, and whether images are changed before it.

    A layer may be part of several models; tracing back from this one's outputs finds its position in this one.
    """
    ours, todo, seen = {id(tensor) for tensor in model.inputs}, list(model.outputs), set()
    while todo:
        tensor = todo.pop()
        if id(tensor) in ours or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, index, _ = tensor._keras_history  # as Keras itself traces back
        given = operation._inbound_nodes[index].input_tensors
        if operation is holder:
            return given[0], _is_changed(given[0], ours)
        todo += given
    raise InputError(f"Expected a model whose outputs depend on its first convolution. Received: {model.name!r}.")


def _is_changed(tensor, ours) -> bool:
    while id(tensor) not in ours:
        operation, index, _ = tensor._keras_history
        given = operation._inbound_nodes[index].input_tensors
        if not isinstance(operation, _PLAIN) or not given:
            return True
        tensor = given[0]
    return False
