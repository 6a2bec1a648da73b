"""A localiser prepared for a classifier's classes: with scales, class mapping and merging."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.class_labels import labels_of, same_classes
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.net_files import NetFile, open_net_file
from keras_vgg.inference.passes import check_scale
from keras_vgg.inference.views import DENSE, Views
from keras_vgg.localisation.merging_settings import Merging
from keras_vgg.mixed_precision import precision_of
from keras_vgg.precision import FLOAT32, noted
from keras_vgg.regression import PCR


@dataclasses.dataclass(frozen=True)
class Finder:
    """A localiser and its settings.

    Attributes:
        localiser: the net.
        source: its file.
        digest: digest of the net, `identity.digest_of_net`.
        own_labels: `(classes,)` int64, its own index of each requested class; zeros if it has one box for all.
        scales: smallest sides Q of the whole images.
        flip: whether to predict boxes from mirror images, too.
        pooling: see `Localiser`.
        merging: how boxes become guesses.
    """

    localiser: Localiser
    source: NetFile
    digest: str
    own_labels: np.ndarray
    scales: tuple[int, ...]
    flip: bool
    pooling: str
    merging: Merging

    @property
    def settings(self) -> dict:
        """The JSON-serializable settings."""
        return {
            "regression": self.localiser.regression,
            "scales": list(self.scales),
            "flip": self.flip,
            "pooling": self.pooling,
            "merging": dataclasses.asdict(self.merging),
        } | noted(precision_of(self.localiser.model))

    def boxes(self, images: Sequence[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
        """Returns the boxes of an image at each scale, `(places, k, 4)` float32 each, edges in fractions of the image.

        Args:
            images: the image at each of `scales`, `(height, width, 3)` uint8.
            labels: `(k,)` class indices of the caller.

        Raises:
            InputError: if boxes are not finite.
        """
        own = self.own_labels[labels][np.newaxis]
        found = [self.localiser.boxes(image[np.newaxis], own, flip=self.flip).numpy()[0] for image in images]
        if not all(np.isfinite(each).all() for each in found):
            raise InputError(
                f"Expected a localiser with finite boxes. Received: {self.source.path}, which predicts NaN; its weights are "
                "corrupt, or it overflows in half precision."
            )
        return found


def open_finder(
    run_or_file: str,
    classes: tuple[str, ...] | None,
    *,
    scales: Sequence[int] | None = None,
    flip: bool = False,
    pooling: str = "floor",
    merge_threshold: float | None = None,
    precision: str = FLOAT32,
) -> Finder:
    """Finds and loads a localiser.

    Args:
        run_or_file: a run folder of `keras_vgg.fit --task localisation`, or a weight file.
        classes: names of the classes to predict boxes for; `None` for its own.
        scales: smallest sides Q; by default S, or the middle of the jitter range.
        flip: whether to predict boxes from mirror images, too.
        pooling: rounding of odd sizes, `"floor"` or `"ceil"`.
        merge_threshold: see `Merging`; by default as there.
        precision: compute precision, one of `precision.PRECISIONS`.

    Raises:
        InputError: if it is a classifier, cannot be loaded, lacks boxes for these classes, or a scale is smaller than its input.
    """
    merging = Merging() if merge_threshold is None else Merging(merge_threshold)
    source = open_net_file(run_or_file)
    if source.regression is None:
        raise InputError(
            "`--localiser` must be a localiser trained by `keras_vgg.fit --task localisation`. "
            f"Received: {source.path}, a classifier."
        )
    scales = tuple(dict.fromkeys(scales or (source.default_scale,)))
    for scale in scales:
        check_scale(Views(DENSE, scale, flip), source.smallest_input)
    own_labels = _own_labels(source, classes)
    localiser = source.load_localiser(pooling=pooling, precision=precision)
    return Finder(localiser, source, digest_of_net(localiser.model), own_labels, scales, flip, pooling, merging)


def _own_labels(source: NetFile, classes: tuple[str, ...] | None) -> np.ndarray:
    if source.regression != PCR:
        return np.zeros(len(classes or (source.classes or "?")), np.int64)
    count = source.count_classes()
    own = source.class_names(count)
    if classes is None or same_classes(classes, own):
        return np.arange(count)
    try:
        return labels_of(classes, source.classes, count, told=str(source.path), say=lambda line: None)
    except InputError as error:
        missing = sorted(set(classes) - set(own))
        raise InputError(
            f"A localiser with one box per class must have all classes of the classifier. Received: {source.path} with {count} "
            f"classes, without {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}."
        ) from error
