"""Descriptor files: `.npz` for NumPy, `.parquet` for tables. Written in chunks of rows, for any number of them.

Both contain `features` `(N, D)` float32, `labels` `(N,)` int64 (-1 for none), `images` (names), `places` `(N,)` int64 (indices in
the dataset, whose unusable images are skipped), `fingerprints` `(N,)` int64 of the images, `split` (only for datasets), `classes`
(names in label order) and `facts`, JSON that records nets and protocol; a Parquet file has the last two in its metadata, under
`keras_vgg`, and names its columns `label`, `image`, `place`, `fingerprint`.
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.inference.row_cache import rows_at_once, write_header
from keras_vgg.support import files, paths
from keras_vgg.support.counts import counted

SUFFIXES = (".npz", ".parquet")


@dataclasses.dataclass(frozen=True)
class DescriptorFile:
    """Descriptors and their metadata.

    Attributes:
        features: `(N, D)` float32; NaN rows for images that could not be used, if those are kept.
        labels: `(N,)` int64, -1 for none.
        images: `(N,)` str, names.
        split: `(N,)` str, `"train"`, `"validation"` or `"test"`; `None` for image files.
        classes: class names in label order.
        facts: nets, layer, protocol, data, serializable as JSON.
        places: `(N,)` int64, increasing indices of the images in the dataset; by default all.
        fingerprints: `(N,)` int64 of the images (`batches.Survey`), by which they are compared; `None` in files of earlier
            versions, whose images are compared by name.
    """

    features: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    split: np.ndarray | None
    classes: tuple[str, ...]
    facts: dict
    places: np.ndarray = None  # type: ignore[assignment]  # set by `__post_init__`
    fingerprints: np.ndarray | None = None

    def __post_init__(self):
        if self.places is None:
            object.__setattr__(self, "places", np.arange(len(self.labels)))

    @property
    def parts(self) -> np.ndarray:
        """`split`, or empty strings if it is `None`."""
        return np.full(len(self.labels), "") if self.split is None else self.split

    def save(self, path: str | pathlib.Path, *, keep_broken: bool = False) -> int:
        """Writes a file in the format of its suffix, for `read`; returns the number of images in it.

        Args:
            path: output file, `.npz` or `.parquet`.
            keep_broken: whether to write rows of NaN too.

        Raises:
            InputError: for another suffix, if pyarrow is missing for Parquet, or if the file system refuses.
        """
        check_path(path)
        kept = np.ones(len(self.labels), bool)
        if not keep_broken:
            kept = np.concatenate([np.isfinite(part).all(axis=1) for part in _parts(self.features)] or [kept])
        write = _write_npz if str(path).endswith(".npz") else _write_parquet
        with files.replacing(path) as beside:
            write(beside, self, kept)
        return int(kept.sum())

    @classmethod
    def read(cls, path: str | pathlib.Path) -> "DescriptorFile":
        """Reads what `save` wrote.

        Raises:
            InputError: if it is another kind of file, or damaged.
        """
        check_path(path)
        try:
            content = (_read_npz if str(path).endswith(".npz") else _read_parquet)(paths.path_of(path))
        except Exception as error:  # damaged files make zipfile, NumPy and pyarrow raise all kinds of errors
            reason = str(error).split("\n")[0]
            raise InputError(f"Expected a descriptor file of keras_vgg.extract. Received: {path} ({reason}).") from error
        if wrong := _what_is_wrong(content):
            raise InputError(f"Expected a descriptor file of keras_vgg.extract. Received: {path} ({wrong}).")
        return content


def _what_is_wrong(content: DescriptorFile) -> str | None:
    """Returns what is wrong with a file that `save` did not write; `None` if nothing."""
    count = len(content.labels)
    if content.features.ndim != 2 or content.features.dtype.kind != "f" or not content.features.shape[1]:
        return f"features of shape {content.features.shape} {content.features.dtype}, not (N, D) float32"
    for name in ("labels", "images", "places", "split", "fingerprints"):
        array, kind = getattr(content, name), "iu" if name in ("labels", "places", "fingerprints") else "U"
        if array is None:
            continue
        if array.shape != (len(content.features),) or (count and array.dtype.kind not in kind):
            return f"{name} of shape {array.shape} {array.dtype} for {len(content.features)} features"
    if count and not -1 <= content.labels.min() <= content.labels.max() < max(len(content.classes), 1):
        return f"labels from {content.labels.min()} to {content.labels.max()} for {counted(len(content.classes), 'class')}"
    if (np.diff(content.places, prepend=-1) < 1).any():
        return "places that do not increase"
    nets = content.facts.get("nets", []) if isinstance(content.facts, dict) else None
    if not isinstance(nets, list) or not all(isinstance(net, dict) and {"net", "scales"} <= set(net) for net in nets):
        return "facts that do not describe nets"
    return None


def check_path(path: str | pathlib.Path) -> None:
    """Raises `InputError` if the suffix is not supported, or the library for it is missing."""
    if pathlib.Path(path).suffix not in SUFFIXES:
        raise InputError(f"A descriptor file must end in {' or '.join(SUFFIXES)}. Received: {path}.")
    if pathlib.Path(path).suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise InputError(
                "Parquet files need pyarrow, which is not installed; pip install pyarrow, or pass a name that ends in .npz."
            ) from error


def _parts(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows in chunks."""
    at_once = rows_at_once(features.shape[1:])
    for start in range(0, len(features), at_once):
        mapped = features
        if (
            isinstance(features, np.memmap) and features.filename
        ):  # mapped anew, since a live mapping counts all that was read from it as our memory
            mapped = np.memmap(features.filename, features.dtype, "r", features.offset, features.shape)
        yield mapped[start : start + at_once]


def _kept_parts(content: DescriptorFile, kept: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the indices of kept rows, and the rows."""
    start = 0
    for part in _parts(content.features):
        found = np.flatnonzero(kept[start : start + len(part)])
        yield start + found, part[found]
        start += len(part)


def _write_npz(path: pathlib.Path, content: DescriptorFile, kept: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            write_header(member, (int(kept.sum()), content.features.shape[1]), np.dtype(np.float32))
            for _, rows in _kept_parts(content, kept):
                member.write(np.ascontiguousarray(rows, np.float32).data)
        arrays = {"labels": content.labels[kept], "images": content.images[kept], "places": content.places[kept]}
        if content.split is not None:
            arrays["split"] = content.split[kept]
        if content.fingerprints is not None:
            arrays["fingerprints"] = content.fingerprints[kept]
        arrays |= {"classes": np.array(content.classes, np.str_), "facts": np.array(json.dumps(content.facts))}
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_npz(path) -> DescriptorFile:
    with np.load(path, allow_pickle=False) as stored:
        split = stored.get("split")
        classes, facts = tuple(map(str, stored["classes"])), json.loads(str(stored["facts"]))
        places, fingerprints = stored.get("places"), stored.get("fingerprints")
        return DescriptorFile(stored["features"], stored["labels"], stored["images"], split, classes, facts, places, fingerprints)


def _write_parquet(path: pathlib.Path, content: DescriptorFile, kept: np.ndarray) -> None:
    import pyarrow
    from pyarrow import parquet

    width = content.features.shape[1]
    columns = {"image": pyarrow.string(), "label": pyarrow.int64(), "place": pyarrow.int64()}
    columns |= {"split": pyarrow.string()} if content.split is not None else {}
    columns |= {"fingerprint": pyarrow.int64()} if content.fingerprints is not None else {}
    told = json.dumps({"classes": content.classes, "facts": content.facts})
    schema = pyarrow.schema(columns | {"features": pyarrow.list_(pyarrow.float32(), width)}, metadata={"keras_vgg": told})
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for indices, rows in _kept_parts(content, kept):
            arrays = [content.images[indices], content.labels[indices], content.places[indices]]
            arrays += [content.split[indices]] if content.split is not None else []
            arrays += [content.fingerprints[indices]] if content.fingerprints is not None else []
            flat = pyarrow.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
            features = pyarrow.FixedSizeListArray.from_arrays(flat, width)
            writer.write_batch(pyarrow.record_batch([*map(pyarrow.array, arrays), features], schema=schema))


def _read_parquet(path) -> DescriptorFile:
    from pyarrow import parquet

    table = parquet.read_table(path)
    told = json.loads(table.schema.metadata[b"keras_vgg"])
    flat = table["features"].combine_chunks()
    features = flat.values.to_numpy(zero_copy_only=False).reshape(len(flat), -1)
    split = np.array(table["split"].to_pylist(), np.str_) if "split" in table.column_names else None
    images, places = np.array(table["image"].to_pylist(), np.str_), table["place"].to_numpy()
    fingerprints = table["fingerprint"].to_numpy() if "fingerprint" in table.column_names else None
    labels, classes = table["label"].to_numpy(), tuple(told["classes"])
    return DescriptorFile(features, labels, images, split, classes, told["facts"], places, fingerprints)
