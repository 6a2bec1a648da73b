"""Perceptual distances for Keras: LPIPS and DISTS as functions, as losses for `compile(loss=…)` and as metrics."""

import functools
import os
import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_vgg.errors import InputError
from keras_vgg.features.distances import DISTANCE, TRUNK, Weights, digest_of_distance, dists_model, lpips_model
from keras_vgg.features.perceptual import limits

_ROOM = 0.1  # share of the range by which generated images may overshoot


def lpips(images_true, images_pred, *, model: keras.Model | None = None):
    """Returns the LPIPS of two batches of images: `(B, height, width, 3)` each to `(B,)` float32.

    Args:
        images_true, images_pred: in the range of `model`.
        model: a model of `lpips_model`; by default version 0.1 for images in 0–255 with the public weights, loaded once.
    """
    return _distance(model or _usual(lpips_model), images_true, images_pred)


def dists(images_true, images_pred, *, model: keras.Model | None = None):
    """Like `lpips`, for DISTS; `model` is a model of `dists_model`."""
    return _distance(model or _usual(dists_model), images_true, images_pred)


@functools.cache  # public files are verified by hash, so they never change
def _usual(make) -> keras.Model:
    return make()


def _distance(model: keras.Model, *batches):
    warn_of_range(batches, model.get_layer(DISTANCE).value_range)
    return model(list(batches))


def warn_of_range(batches, value_range: tuple[float, float]) -> None:
    """Warns about images that cannot be in the expected range, judging by their values if available, else by their dtype.

    Args:
        batches: batches of images, each a tensor or convertible to one.
        value_range: `(low, high)`.
    """
    for batch in batches:
        _warn_of_range(ops.convert_to_tensor(batch), *value_range)


def _warn_of_range(images, low: float, high: float) -> None:
    is_integer = not keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype))
    found = "integers"
    if tf.executing_eagerly() and ops.size(images):
        least, most = (float(bound(ops.cast(images, "float32"))) for bound in (ops.min, ops.max))
        room, found = _ROOM * (high - low), f"values from {least:.4g} to {most:.4g}"
        is_strange = least < low - room or most > high + room or (high > 10 and not is_integer and 0 < most <= 1)
    else:
        is_strange = is_integer and high - low < 10
    if is_strange:
        warnings.warn(
            f"Images must be in {low:g} to {high:g}. Received: {found}. Distances between images in another range are "
            "meaningless: pass value_range=(low, high).",
            stacklevel=4,  # the caller of the distance
        )


class _Kept:
    """Shared by losses and metrics: a model, and the configuration to restore it."""

    model: keras.Model
    _options: dict[str, Any]

    def _begin(self, make, value_range, options):
        self.value_range = limits(value_range)
        self._options = {"value_range": list(self.value_range), **options}
        self.model = make(value_range=self.value_range, **options)

    def _kept(self) -> dict[str, Any]:
        paths = ("weights", "calibration")
        named = {name: os.fspath(value) for name in paths if isinstance(value := self._options[name], str | os.PathLike)}
        return self._options | dict.fromkeys(paths) | named | {"sha256": digest_of_distance(self.model)}

    @classmethod
    def from_config(cls, config):
        """Creates an object from the result of `get_config`.

        Raises:
            InputError: if this cannot restore its net: random weights, a model in memory, or a file that has changed.
        """
        config = dict(config)
        digest = config.pop("sha256")
        made = cls(**config)
        if digest_of_distance(made.model) != digest:
            raise InputError(
                f"The weights of the saved model's {cls.__name__} have changed or cannot be restored. Load the model with "
                "compile=False, and compile it with the loss or metric."
            )
        return made


class _Loss(_Kept, keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        """Returns the loss of a batch, with Keras' reduction."""
        warn_of_range((y_true, y_pred), self.value_range)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        """`(B, height, width, 3)` each to `(B,)` float32, or `(B, height, width)` if the distance is spatial."""
        return self.model([y_true, y_pred])

    def get_config(self):
        """Returns the arguments, and the digest of the resulting model."""
        return {"reduction": self.reduction, "name": self.name} | self._kept()


class _Metric(_Kept, keras.metrics.MeanMetricWrapper):
    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the distances of a batch."""
        warn_of_range((y_true, y_pred), self.value_range)
        return super().update_state(y_true, y_pred, sample_weight)

    def get_config(self):
        """Returns the arguments, and the digest of the resulting model."""
        return {"name": self.name} | self._kept()


@keras.saving.register_keras_serializable("keras_vgg")
class LPIPS(_Loss):
    """LPIPS as a loss.

    The distance is computed in float32; the generator may compute in half precision under a mixed policy, and the judging net
    with `precision`. A model compiled with this loss is saved with its arguments and the digest of its net.

    Args:
        weights, calibration, version, spatial, value_range, precision: as for `lpips_model`.
        reduction, name: as for any Keras loss.

    Example:
        >>> import keras
        >>> from keras_vgg.features import LPIPS
        >>> generator = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, padding="same")])
        >>> generator.compile("adam", loss=LPIPS(value_range=(0, 1)))  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: Weights = TRUNK,
        *,
        calibration: str | os.PathLike[str] | None = None,
        version: str = "0.1",
        spatial: bool = False,
        value_range: float | tuple[float, float] = 255,
        precision: str | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "lpips",
    ):
        super().__init__(name=name, reduction=reduction)
        options = {"weights": weights, "calibration": calibration, "version": version, "spatial": spatial, "precision": precision}
        self._begin(lpips_model, value_range, options)


@keras.saving.register_keras_serializable("keras_vgg")
class DISTS(_Loss):
    """DISTS as a loss; see `LPIPS`.

    Args:
        weights, calibration, value_range, precision: as for `dists_model`.
        reduction, name: as for any Keras loss.
    """

    def __init__(
        self,
        weights: Weights = TRUNK,
        *,
        calibration: str | os.PathLike[str] | None = None,
        value_range: float | tuple[float, float] = 255,
        precision: str | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "dists",
    ):
        super().__init__(name=name, reduction=reduction)
        self._begin(dists_model, value_range, {"weights": weights, "calibration": calibration, "precision": precision})


@keras.saving.register_keras_serializable("keras_vgg")
class LPIPSMetric(_Metric):
    """The mean LPIPS of all pairs of images since the last `reset_state`, weighted by `sample_weight` if given.

    Args:
        weights, calibration, version, value_range, precision: as for `lpips_model`.
        name: as for any Keras metric.
    """

    def __init__(
        self,
        weights: Weights = TRUNK,
        *,
        calibration: str | os.PathLike[str] | None = None,
        version: str = "0.1",
        value_range: float | tuple[float, float] = 255,
        precision: str | None = None,
        name: str = "lpips",
    ):
        self._begin(
            lpips_model,
            value_range,
            {"weights": weights, "calibration": calibration, "version": version, "precision": precision},
        )
        super().__init__(lambda y_true, y_pred: self.model([y_true, y_pred]), name=name)


@keras.saving.register_keras_serializable("keras_vgg")
class DISTSMetric(_Metric):
    """The mean DISTS; see `LPIPSMetric`.

    Args:
        weights, calibration, value_range, precision: as for `dists_model`.
        name: as for any Keras metric.
    """

    def __init__(
        self,
        weights: Weights = TRUNK,
        *,
        calibration: str | os.PathLike[str] | None = None,
        value_range: float | tuple[float, float] = 255,
        precision: str | None = None,
        name: str = "dists",
    ):
        self._begin(dists_model, value_range, {"weights": weights, "calibration": calibration, "precision": precision})
        super().__init__(lambda y_true, y_pred: self.model([y_true, y_pred]), name=name)
