"""A picture with the content of one image and the style of another, by optimising its pixels (Gatys et al. 2016)."""

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

with extras.needed("style"):
    import scipy.optimize

_HIGHEST = 255.0
_ADAM_STEP = 4.0  # pixel values
_NOISE = 32.0  # standard deviation around the middle grey
_CORRECTIONS = 20  # gradients that L-BFGS remembers
_MOST_EVALUATIONS = 20  # of a line search, which is scipy's own limit


@dataclasses.dataclass(frozen=True)
class Progress:
    """What `style_transfer` tells after every step.

    Attributes:
        step: how many steps are done.
        loss: what is minimised.
        picture: `(height, width, 3)` uint8, the picture so far.
    """

    step: int
    loss: float
    picture: np.ndarray


def open_net(arch: str | None, weights, settings: Settings, **options) -> keras.Model:
    """Returns the net that `style_transfer` looks through; arguments and errors as for `perceptual_model`."""
    options |= {"pooling": settings.pooling, "value_range": _HIGHEST, "precision": settings.precision}
    return perceptual_model(arch, settings.layers, weights=weights, **options)


def preprocessing_text(net: keras.Model) -> str:
    """Returns what the weights of `net`, of `open_net`, want of an image and how that is known, in the words of all commands."""
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

    What is minimised is the mean content loss over `content_layers`, plus `style_weight` times the mean style loss over
    `style_layers`, plus `smoothness` times the total variation. Other than in the paper, each loss is divided by the mean square of
    what is aimed at, so that 1 means as far away as nothing at all, and weights mean the same for all layers and all nets.

    Args:
        content: `(height, width, 3)` uint8, RGB.
        style: `(height, width, 3)` uint8, RGB, of any size; its patterns keep their size in pixels.
        net: of `open_net`.
        settings: the same as `open_net` was given.
        watch: is called after every step; it ends the work by returning `True`.

    Returns:
        `(height, width, 3)` uint8, of the size of `content`. The same on the same machine for the same arguments.

    Raises:
        InputError: for arrays that are no such images, or if the loss is no longer finite: `watch` has seen the picture before.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features.style_transfer import Settings, open_net, style_transfer
        >>> photo, painting = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3)).astype(np.uint8)  # RGB
        >>> settings = Settings(style_weight=20, steps=2)
        >>> net = open_net("D", None, settings)  # of random weights; with "imagenet" it paints
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
    # An aim of zeros, as of a black image, has no unit; the smallest number keeps it from dividing by zero.
    return loss(aim, found)[0] / (tf.reduce_mean(tf.square(tf.cast(aim, tf.float32))) + 1e-12)


def _as_picture(values) -> np.ndarray:
    return np.clip(np.round(np.asarray(values)[0]), 0, _HIGHEST).astype(np.uint8)


def _finite(loss, gradient, step: int) -> float:
    mend = "give smaller weights of the losses."
    if not np.isfinite(loss):
        raise InputError(f"The loss must be finite; after {step} steps it is {float(loss)}: {mend}")
    if not np.isfinite(gradient).all():
        raise InputError(f"The loss' gradient must be finite; after {step} steps it is not: {mend}")
    return float(loss)


class _Stop(Exception):  # noqa: N818  (no error: how to leave scipy's loop)
    pass


def _minimize_lbfgs(objective, start, steps: int, watch) -> np.ndarray:
    shape, losses, picture = start.shape, [], start
    # Nothing depends on the loss' unit but L-BFGS-B's first step, which is the gradient itself: pixels should move by about one
    # value then. As it comes the gradient is so small that the loss would change by less than float32 can tell.
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

    # Tolerances of zero: it ends after so many steps, or where no step lowers the loss by what float32 can tell.
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
    optimizer = keras.optimizers.Adam(_ADAM_STEP, epsilon=1e-12)  # gradients of a pixel lie far below the usual 1e-7
    optimizer.build([picture])
    for step in range(1, steps + 1):
        value, gradient = objective(picture.value())
        loss = _finite(value, gradient, step - 1)
        optimizer.apply([gradient], [picture])
        picture.assign(tf.clip_by_value(picture, 0, _HIGHEST))
        if watch(Progress(step, loss, _as_picture(picture))):
            break
    return _as_picture(picture)
