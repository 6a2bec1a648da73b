"""Boxes predicted by localisers for the images of a test, written to disk as they are computed."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_copies
from keras_vgg.inference.batches import Survey, rescaled_sizes
from keras_vgg.inference.images import Images
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.passes import Pass, run_passes
from keras_vgg.inference.row_cache import RowCache
from keras_vgg.inference.views import CENTER, Views
from keras_vgg.precision import noted
from keras_vgg.regression import BOX, SCR
from keras_vgg.resizing import place


class BoxStore(RowCache):
    """Boxes of all images of a split in one pass: rows sized for the image with the most positions, padded with NaN."""

    name = "boxes"


class Asked:
    """A localiser with different classes for each image, for `passes.run_pass`.

    Args:
        localiser: the net.
        survey: the images.
        labels: `(N, k)` class indices of the localiser.
        places: maximum number of positions of an image, mirror images included.
    """

    def __init__(self, localiser: Localiser, survey: Survey, labels: np.ndarray, places: int):
        self.model, self.crop, self.smallest_input = localiser.model, localiser.crop, localiser.smallest_input
        self._localiser, self._survey, self._labels = localiser, survey, labels
        self._width = places * labels.shape[1] * len(BOX)

    def see(self, images, views: Views, which: np.ndarray | None = None) -> np.ndarray:
        """Returns the boxes of images, edges in fractions of the whole images, `(B, width)` float32."""
        assert which is not None  # `run_pass` passes them
        of_crops = views.kind == CENTER
        boxes = self._localiser.boxes(images, self._labels[which], flip=views.flip, within=not of_crops).numpy()
        if not np.isfinite(boxes).all():
            raise InputError(
                "Expected a localiser with finite boxes. Received: one that predicts NaN for readable images; its weights "
                "are corrupt, or it overflows in half precision."
            )
        if of_crops:
            boxes = self._in_whole(boxes, views.scale, which)
        rows = np.full((len(which), self._width), np.nan, np.float32)
        flat = boxes.reshape(len(which), -1)
        rows[:, : flat.shape[1]] = flat
        return rows

    def _in_whole(self, boxes: np.ndarray, scale: int, which: np.ndarray) -> np.ndarray:
        heights, widths = self._survey.sizes[which].T
        parts = place(heights, widths, scale, 0.5, 0.5, self.crop).window.numpy()
        corners, sides = parts[:, [1, 0, 1, 0]], parts[:, [3, 2, 3, 2]]
        sizes = self._survey.sizes[which][:, [1, 0, 1, 0]]
        spread = (slice(None), np.newaxis, np.newaxis)
        return np.clip((corners[spread] + boxes * sides[spread]) / sizes[spread], 0, 1)


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The boxes of a localiser in one pass.

    Attributes:
        store: its rows.
        columns: number of classes with boxes per image.
    """

    store: BoxStore
    columns: int

    def of(self, rows: np.ndarray, image: int) -> np.ndarray:
        """Returns the boxes of an image from the rows of `store`: `(places, columns, 4)` float64, edges in fractions."""
        row = rows[image].astype(np.float64)
        return row[: np.argmax(np.isnan(row)) if np.isnan(row).any() else None].reshape(-1, self.columns, len(BOX))


def find_candidates(
    asked: Sequence[tuple[str, NetFile, Sequence[Views], np.ndarray]],
    images: Images,
    folder: pathlib.Path,
    *,
    pooling: str,
    batch: int,
    devices: Sequence[str | None],
    precision: str,
    stream=None,
) -> tuple[dict[tuple[str, Views, bytes], Candidates], dict[str, str]]:
    """Computes the boxes of localisers, each pass once; passes already in `folder` are not computed again.

    Args:
        asked: for each localiser its name, file and passes, and `(N, k)` labels to predict boxes for, as its class indices.
        images: the images.
        folder: folder of the passes.
        pooling, devices: see `Localiser`.
        precision: compute precision of the localisers.
        batch: see `passes.run_pass`.
        stream: stream for the progress display, if any.

    Returns:
        Boxes by name, pass and the labels' bytes; and the localisers' digests by name.
    """
    loaded: dict[str, list[Localiser]] = {}
    found: dict[tuple[str, Views, bytes], Candidates] = {}
    digests: dict[str, str] = {}
    passes = []
    for name, source, all_views, labels in asked:
        if name not in loaded:
            options = {"pooling": pooling, "precision": precision}
            loaded[name] = [source.load_localiser(device=device, **options) for device in devices]
            digests[name] = digest_of_copies([each.model for each in loaded[name]], source.path)
        localisers = loaded[name]
        wanted = labels[:, :1] * 0 if localisers[0].regression == SCR else labels
        for views in all_views:
            if (key := (name, views, labels.tobytes())) in found:  # shared with another row
                continue
            places = _most_places(localisers[0], images.survey, views)
            depends_on = ["boxes", digests[name], dataclasses.astuple(views), pooling, localisers[0].regression]
            depends_on.append(hashlib.sha256(wanted.astype("<i4").tobytes()).hexdigest())
            facts = {"net": str(source.path), "net sha256": digests[name], "views": str(views), "pooling": pooling}
            facts |= noted(precision)
            width = places * wanted.shape[1] * len(BOX)
            store = BoxStore(folder, depends_on, images.survey.fingerprints, width, facts)
            found[key] = Candidates(store, wanted.shape[1])
            networks = [Asked(each, images.survey, wanted, places) for each in localisers]
            passes.append(Pass(f"localiser {name}", networks, views, store))
    run_passes(passes, images, batch=batch, stream=stream)
    return found, digests


def _most_places(localiser: Localiser, survey: Survey, views: Views) -> int:
    """Returns the maximum number of boxes per image and class."""
    times = 2 if views.flip else 1
    if views.kind == CENTER:
        return times
    sizes = rescaled_sizes(survey.sizes[survey.sizes[:, 0] > 0], views.scale)
    return times * max((localiser.places(*map(int, size)) for size in np.unique(sizes, axis=0)), default=1)
