"""Exports a net as a SavedModel for TensorFlow Serving.

A model folder holds numbered versions; a server that watches it loads each new one. The graph includes preprocessing: clients
send pixels in 0–255 or the bytes of image files, and receive probabilities and class names.
"""

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.serving.comparison import boxes_with_own_layers, largest_difference, with_own_layers
from keras_vgg.serving.plan import Plan, plan_export
from keras_vgg.serving.signatures import Served, checksum
from keras_vgg.serving.warm_up import example_inputs, write_requests
from keras_vgg.support import extras, files, paths
from keras_vgg.support.saved_model_folders import CARD, is_saved_model

LABELS = "labels.txt"
_OF_FILE_SYSTEMS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS)
"""File system errors; TensorFlow wraps each in an error of its own, whose message ends in these words."""

_GRAPH_BYTES = 2**23  # the signatures' graphs and the card, roughly


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported SavedModel.

    Attributes:
        path: folder of the version.
        card: contents of its `model_card.json`.
        signatures: names of its signatures.
        largest_difference: between outputs of the reloaded file and of the net in memory; `None` if not checked.
    """

    path: pathlib.Path
    card: dict
    signatures: tuple[str, ...]
    largest_difference: float | None


def export_saved_model(
    model_or_run: keras.Model | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    version: int | None = None,
    check: bool = True,
    dense: bool = True,
    scales: Sequence[int] | None = None,
    flip: bool | None = None,
    top_k: int = 5,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    features: str | None = None,
    average: str = "posteriors",
    pooling: str = "floor",
    preprocessing: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    licence: str | None = None,
    localiser: str | os.PathLike[str] | None = None,
    localiser_scales: Sequence[int] | None = None,
    merge_threshold: float | None = None,
    precision: str | None = None,
) -> Exported:
    """Writes `path/<version>/`, a SavedModel in the layout of TensorFlow Serving.

    It is written under a temporary name and renamed, so that a server that watches `path` sees all of it or nothing. Before that
    it is reloaded and must compute what the net computes, unless `check` is off.

    Signatures, each with a variable batch dimension:

    - `serving_default`: `images` `(B, height, width, 3)` float32, RGB in 0–255, of any size from the net's input up, not
      rescaled; `probabilities` `(B, classes)`. `serving_uint8`: the same for bytes, a quarter of the traffic. Only for these two
      must B be at least 1.
    - `classify`: `images` `(B,)`, the bytes of image files in the formats of `keras_vgg.data.formats`, each rescaled to Q;
      `probabilities` `(B, classes)`, `scores`, `class_ids` and `class_names` `(B, top_k)`, best first; `error` `(B,)`.
    - `features`: the same images; `features` `(B, channels)` of unit length (Appendix B), `error`.
    - `score_map`: the same images; `score_map` `(B, rows, columns, classes)` at the largest Q, NaN beyond an image's own `size`
      `(B, 2)`; `error`. With `dense` only.
    - `localise`: the same images; up to five guesses, best first: `class_ids` and `class_names` `(B, 5)`, `scores` `(B, 5)`, the
      class probability times the share of boxes that agree, and `boxes` `(B, 5, 4)`, edges `x_min, y_min, x_max, y_max` in
      fractions of the image (-1, "" and zeros after the last guess); `image_size` `(B, 2)`, height and width in pixels;
      `localiser_sha256`, `error`. Only with a `localiser`, whose boxes are merged as in `keras_vgg.localise`.

    The last four also return `net_sha256` `(B,)`: the digest of the net, as on the card.

    An unusable image yields NaN and a non-empty `error`, and does not affect the rest of its batch: bytes that are not a complete
    image or that `data.formats` refuses, more than 67,108,864 pixels, more than 4,194,304 once rescaled, JPEGs with very many
    scans. EXIF orientation is ignored, as in training.

    Args:
        model_or_run: a VGG net with its top and known preprocessing, a run folder of `keras_vgg.fit`, or a weight file.
        path: the model's folder, e.g. `models/vgg`.
        version: by default the highest existing one plus 1.
        check: whether to reload and compare the file, which doubles time and memory.
        dense: whether to evaluate whole images; otherwise their center crops.
        scales: smallest sides Q, over which results are averaged; by default S or the middle of the jitter range of the run, 256
            or the net's input size where S is not known.
        flip: whether to average over mirror images too; by default as the net was trained, on where that is not known.
        top_k: number of classes to return.
        labels: class names, or a text file of them; by default those of the run, or ImageNet's.
        features: the layer of the signature `features`: a layer of `configs.feature_layers`, such as `"fc2"` or `"block5_pool"`;
            by default the last FC layer before the classifier, or, without any, the last pooling.
        average, pooling: as for `inference.network.Network`.
        preprocessing: `"caffe"`, `"torch"` or `"caffe_rgb"`: the preprocessing of the weights, if their file does not record it.
        evaluation: a folder of `keras_vgg.evaluate`, whose errors for exactly these weights go on the card.
        licence: license of the weights, for the card.
        localiser: a run folder of `keras_vgg.fit --task localisation`, or a weight file; a net with a box for each class must
            have the classes of this one.
        localiser_scales: smallest sides Q of the localizer, whose boxes are united; by default its S. It sees mirror images too
            if `flip` is explicitly true.
        merge_threshold: match score up to which boxes are merged; by default that of `localisation.merging_settings.Merging`.
        precision: compute precision of all signatures, one of `precision.PRECISIONS`; weights and outputs are float32. By default
            float32 for files, and a model's own precision for models.

    Returns:
        The exported SavedModel, with its path and card.

    Raises:
        InputError: if there is no such net, an option is out of range, the version exists, or writing fails.

    Example:
        >>> import tempfile
        >>> import keras_vgg
        >>> net = keras_vgg.models.build_vgg("A", input_shape=(32, 32, 3), classes=2, width=1 / 16)  # or "runs/flowers17"
        >>> keras_vgg.preprocessing.remember(net, keras_vgg.preprocessing.CAFFE)  # a run's net records this itself
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = keras_vgg.saved_model.export_saved_model(net, folder, labels=("daffodil", "pansy"), scales=(32, 48))
        >>> exported.path.name, sorted(exported.signatures)
        ('1', ['classify', 'features', 'score_map', 'serving_default', 'serving_uint8'])
    """
    extras.require("serve")
    root = paths.path_of(path)
    _check_place(root, version)
    plan = plan_export(
        model_or_run,
        dense=dense,
        scales=scales,
        flip=flip,
        top_k=top_k,
        labels=labels,
        features=features,
        average=average,
        pooling=pooling,
        preprocessing=preprocessing,
        evaluation=evaluation,
        licence=licence,
        localiser=localiser,
        localiser_scales=localiser_scales,
        merge_threshold=merge_threshold,
        precision=precision,
    )
    _check_disk(root, plan)
    with _file_of_labels(plan.labels) as file_of_labels:
        served = Served(plan.network, plan.weights, file_of_labels, plan.protocol, plan.card["net"]["sha256"], plan.finder)
        return _write_version(served, plan, root, version, check)


def _check_place(root: pathlib.Path, version: int | None) -> None:
    """Raises `InputError` if a version cannot be written to a model's folder."""
    if version is not None and version < 1:
        raise InputError(f"`version` must be at least 1. Received: version={version}.")
    if version is not None and (root / str(version)).exists():
        raise _exists(root, version)
    if is_saved_model(root):
        raise InputError(
            f"`path` must be a folder for numbered versions, such as models/vgg. Received: {root}, which is a SavedModel."
        )
    files.check_folder(root)


def _write_version(served: Served, plan: Plan, root: pathlib.Path, version: int | None, check: bool) -> Exported:
    """Writes the version, or the next free one."""
    signatures = served.signatures()  # once: tracing takes a good part of the time
    number = _highest(root) + 1 if version is None else version
    while True:
        try:
            return _write(served, signatures, plan, root / str(number), check)
        except FileExistsError as error:  # another process has taken this number
            if version is not None:
                raise _exists(root, version) from error
            number += 1


@contextlib.contextmanager
def _file_of_labels(names: Sequence[str]) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            path = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()), LABELS)
            path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"Could not write a temporary file: {error.strerror or error}. Free disk space, or set TMPDIR to another folder."
            ) from error
        yield str(path)


def versions(root: str | os.PathLike[str]) -> tuple[int, ...]:
    """Returns the versions in a model's folder, sorted."""
    found = pathlib.Path(root).iterdir() if pathlib.Path(root).is_dir() else ()
    return tuple(sorted(int(entry.name) for entry in found if entry.name.isascii() and entry.name.isdigit()))


def _highest(root: pathlib.Path) -> int:
    return max(versions(root), default=0)


def _exists(root, version):
    return InputError(
        f"`version` must be a new one. Received: {version}, which exists in {root}; the next free one is {_highest(root) + 1}."
    )


def _check_disk(root: pathlib.Path, plan: Plan) -> None:
    needed = sum(variable.dtype.size * variable.shape.num_elements() for variable in plan.weights)
    if files.free_bytes(root.absolute()) < needed + _GRAPH_BYTES:
        raise InputError(
            f"The export to {root} needs {(needed + _GRAPH_BYTES) / 1e6:,.0f} MB. Free disk space or choose another folder."
        )


def _write(served: Served, signatures: dict, plan: Plan, folder: pathlib.Path, check: bool) -> Exported:
    inputs = example_inputs(signatures, plan.network.crop)
    with files.appearing(folder) as beside:
        try:
            tf.saved_model.save(served, str(beside), signatures=signatures)
            write_requests(beside, inputs)
        except tf.errors.OpError as error:
            if reason := next((told for told in map(os.strerror, _OF_FILE_SYSTEMS) if told in error.message), None):
                remedy = "free disk space or fix the folder's permissions and run the same command again"
                raise InputError(f"Could not write {folder}: {reason}; {remedy}.") from error
            raise
        (beside / CARD).write_text(json.dumps(plan.card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        pairs = itertools.chain(with_own_layers(plan.network), _outputs(beside, served, signatures, inputs))
        if plan.finder:
            pairs = itertools.chain(pairs, boxes_with_own_layers(plan.finder.localiser))
        difference = largest_difference(pairs) if check else None
    return Exported(folder, plan.card, tuple(signatures), difference)


def _outputs(folder: pathlib.Path, served: Served, signatures, inputs) -> Iterator[tuple]:
    """Yields outputs of the written file and of the nets in memory for the same images."""
    loaded = tf.saved_model.load(str(folder))
    for name, images in inputs.items():
        found, expected = loaded.signatures[name](images=images), signatures[name](images)
        # Classes with equal scores may come in either order, and so may their names. Pairs of boxes with nearly equal match
        # scores may be merged in either order, which changes other boxes: for a localizer, variables are compared instead.
        left_out = ("class_ids", "class_names", *(("scores", "boxes") if name == "localise" else ()))
        yield from ((found[name], values) for name, values in expected.items() if name not in left_out)
    if "localise" in signatures:
        yield checksum(loaded), checksum(served)
