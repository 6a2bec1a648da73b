"""Style transfer: a picture with the content of one image and the style of another, by optimizing pixels (Gatys et al. 2016)."""

import contextlib
import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.features.losses import content_loss, gram_matrix, style_loss, total_variation
from keras_vgg.features.perceptual import perceptual_model
from keras_vgg.features.style_settings import Settings
from keras_vgg.support import extras
from keras_vgg.support.counts import counted

with extras.needed("style"):
    import scipy.optimize

_HIGHEST = 255.0
_ADAM_STEP = 4.0  # pixel values
_NOISE = 32.0  # standard deviation around middle gray
_CORRECTIONS = 20  # gradients stored by L-BFGS
_MOST_EVALUATIONS = 20  # per line search, SciPy's own limit


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of `style_transfer` after each step.

    Attributes:
        step: number of completed steps.
        loss: the minimized loss.
        picture: `(height, width, 3)` uint8, the picture so far.
    """

    step: int
    loss: float
    picture: np.ndarray


def open_net(arch: str | None, weights, settings: Settings, **options) -> keras.Model:
    """Returns the net for `style_transfer`; arguments and errors as for `perceptual_model`."""
    options |= {"pooling": settings.pooling, "value_range": _HIGHEST, "precision": settings.precision}
    return perceptual_model(arch, settings.layers, weights=weights, **options)


def preprocessing_text(net: keras.Model) -> str:
    """Returns the preprocessing of `net`, from `open_net`, and its origin, worded as in all commands."""
    return preprocessing.statement(preprocessing.of_weights(net), preprocessing.origin_of(net))


def style_transfer(
    content: np.ndarray,
    style: np.ndarray,
    net: keras.Model,
    settings: Settings | None = None,
    *,
    watch: Callable[[Progress], bool | None] | None = None,
) -> np.ndarray:
    """Returns a picture with the content of one image and the style of another.

    Minimizes the mean content loss over `content_layers`, plus `style_weight` times the mean style loss over `style_layers`, plus
    `smoothness` times the total variation. Unlike in the paper, each loss is divided by the mean square of its target, so that 1
    is the loss of all zeros, and weights are comparable across layers and nets.

    Args:
        content: `(height, width, 3)` uint8, RGB.
        style: `(height, width, 3)` uint8, RGB, of any size; its patterns keep their size in pixels.
        net: a net from `open_net`.
        settings: the settings passed to `open_net`.
        watch: called after each step; stops the optimization by returning `True`.

    Returns:
        `(height, width, 3)` uint8, of the size of `content`. Deterministic on the same machine.

    Raises:
        InputError: for invalid images, or if the loss is no longer finite; `watch` has received the picture before that.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features.style_transfer import Settings, open_net, style_transfer
        >>> photo, painting = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3)).astype(np.uint8)  # RGB
        >>> settings = Settings(style_weight=20, steps=2)
        >>> net = open_net("D", None, settings)  # random weights; use "imagenet" for real pictures
        >>> style_transfer(photo, painting, net, settings).shape
        (48, 64, 3)
    """
    settings = settings or Settings()
    aim, pattern = _as_batch(content, "content"), _as_batch(style, "style")
    objective = _objective(aim, pattern, net, settings)
    if settings.init == "content":
        start = aim.numpy()
    else:
        noise = np.random.default_rng(settings.seed).normal(_HIGHEST / 2, _NOISE, aim.shape)
        start = np.clip(noise, 0, _HIGHEST).astype(np.float32)
    minimize = _minimize_lbfgs if settings.optimizer == "lbfgs" else _minimize_adam
    return minimize(objective, start, settings.steps, watch or (lambda progress: None))


def _as_batch(image, name: str):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise InputError(f"`{name}` must be (height, width, 3) uint8. Received: {image.shape} {image.dtype}.")
    return tf.constant(image[np.newaxis], tf.float32)


def _objective(content, style, net: keras.Model, settings: Settings):
    """Returns the function from a picture, `(1, height, width, 3)` float32 in 0–255, to its loss and the gradient."""
    contents, styles = net(content), net(style)
    aims = {layer: contents[layer] for layer in settings.content_layers}
    grams = {layer: gram_matrix(styles[layer]) for layer in settings.style_layers}

    @tf.function(autograph=False)
    def loss_and_gradient(picture):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            found = net(picture)
            loss = settings.smoothness * total_variation(picture)[0]
            for layer, aim in aims.items():
                loss += _relative(content_loss, aim, found[layer]) / len(aims)
            for layer, aim in grams.items():
                loss += settings.style_weight * _relative(style_loss, aim, gram_matrix(found[layer])) / len(grams)
        return loss, tape.gradient(loss, picture)

    return loss_and_gradient


def _relative(loss, aim, found):
    # A target of zeros, e.g. of a black image, has no scale; the small constant avoids a division by zero.
    return loss(aim, found)[0] / (tf.reduce_mean(tf.square(tf.cast(aim, tf.float32))) + 1e-12)


def _as_picture(values) -> np.ndarray:
    return np.clip(np.round(np.asarray(values)[0]), 0, _HIGHEST).astype(np.uint8)


def _finite(loss, gradient, step: int) -> float:
    remedy = "pass smaller loss weights."
    if not np.isfinite(loss):
        raise InputError(f"After {counted(step, 'step')} the loss is {float(loss)}; {remedy}")
    if not np.isfinite(gradient).all():
        raise InputError(f"After {counted(step, 'step')} the gradient of the loss is not finite; {remedy}")
    return float(loss)


class _Stop(Exception):  # noqa: N818  (not an error, but a way out of SciPy's loop)
    pass


def _minimize_lbfgs(objective, start, steps: int, watch) -> np.ndarray:
    shape, losses, picture = start.shape, [], start
    # The scale of the loss only affects L-BFGS-B's first step, which is the gradient itself and should move pixels by about one
    # value. The unscaled gradient is so small that the change of the loss would be lost in float32.
    loss, gradient = objective(tf.constant(start))
    _finite(loss, gradient, 0)
    unit = float(start.size**0.5 / tf.maximum(tf.norm(gradient), 1e-12))

    def evaluate(values):
        loss, gradient = objective(tf.constant(values.reshape(shape), tf.float32))
        losses.append(_finite(loss, gradient, step))
        return unit * losses[-1], unit * gradient.numpy().ravel().astype(np.float64)

    step = 0

    def after_step(values):
        nonlocal step, picture
        step, picture = step + 1, values.reshape(shape).copy()
        if watch(Progress(step, losses[-1], _as_picture(picture))):
            raise _Stop

    # Zero tolerances: it ends after `steps`, or when no step lowers the loss measurably in float32.
    options = {"maxiter": steps, "maxfun": steps * _MOST_EVALUATIONS, "maxcor": _CORRECTIONS, "ftol": 0.0, "gtol": 0.0}
    bounds = scipy.optimize.Bounds(0.0, _HIGHEST)
    with contextlib.suppress(_Stop):
        scipy.optimize.minimize(
            evaluate,
            start.ravel().astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=after_step,
            options=options,
        )
    return _as_picture(picture)


def _minimize_adam(objective, start, steps: int, watch) -> np.ndarray:
    picture = tf.Variable(start)
    optimizer = keras.optimizers.Adam(_ADAM_STEP, epsilon=1e-12)  # pixel gradients are far below the default 1e-7
    optimizer.build([picture])
    for step in range(1, steps + 1):
        value, gradient = objective(picture.value())
        loss = _finite(value, gradient, step - 1)
        optimizer.apply([gradient], [picture])
        picture.assign(tf.clip_by_value(picture, 0, _HIGHEST))
        if watch(Progress(step, loss, _as_picture(picture))):
            break
    return _as_picture(picture)
