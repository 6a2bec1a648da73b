"""Tables of one-time work, each measured in a process of its own, one after another."""

import functools
import importlib.util
import pathlib
import tempfile
from collections.abc import Collection

import pandas as pd

from benchmarking import listing, loading, over_images
from benchmarking.apart import apart
from benchmarking.contest import LIMIT
from keras_vgg.errors import InputError
from keras_vgg.support import entry

_DENSE, _MULTI_CROP = "dense", "multi-crop"


def _torchvision_loop(settings: over_images.Settings) -> dict:
    from benchmarking import torch_loop  # imports PyTorch only in its own process

    return torch_loop.torchvision_loop(settings)


_OVER_IMAGES = {
    _DENSE: ("ours, dense", functools.partial(over_images.evaluate, protocol=_DENSE), _DENSE),
    _MULTI_CROP: ("ours, multi-crop", functools.partial(over_images.evaluate, protocol=_MULTI_CROP), _MULTI_CROP),
    "ours": ("ours", over_images.extract, _DENSE),
    "predict-loop": ("loop of model.predict", over_images.predict_loop, _DENSE),
    "function-loop": ("loop of a tf.function", over_images.function_loop, _DENSE),
    "torchvision-loop": ("loop of torchvision", _torchvision_loop, _DENSE),
}
"""By name: a contestant's label, the contestant, and its protocol."""


def listing_table(rows: int) -> str:
    """Measures opening a CSV listing with this many images."""
    with tempfile.TemporaryDirectory() as folder:
        measured = apart(listing.measure, listing.write_csv(folder, rows))
    measured["peak GB"] = measured.pop("peak bytes") / 1e9
    return pd.DataFrame([measured]).to_string(index=False, float_format="%.2f")


def weights_table(files: list[str] | None, arch: str, keras_has: Collection[str]) -> str:
    """Measures loading weight files; without `files`, one generated file of each kind, of net `arch`.

    Args:
        files: the files.
        arch: the net.
        keras_has: the nets that Keras has.

    Raises:
        InputError: if a file does not exist.
    """
    for file in files or ():
        if not pathlib.Path(file).is_file():
            raise InputError(f"Expected a weight file. Received: {file}, which does not exist.")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in files or (apart(loading.write, folder, arch, kind) for kind in loading.KINDS):
            contestants = [loading.ours]
            net = apart(loading.arch_of, path) if files else arch
            if path.endswith(".h5") and net in keras_has:
                contestants.append(loading.keras)
            if path.endswith(".pth") and net == "D" and importlib.util.find_spec("torchvision"):
                contestants.append(loading.torchvision)
            size = pathlib.Path(path).stat().st_size
            for contestant in contestants:
                measured = apart(contestant, path)
                rows.append(
                    {
                        "file": pathlib.Path(path).name,
                        "MB": round(size / 1e6),
                        "contestant": contestant.__name__,
                        "parameters": f"{measured['parameters']:,}",
                        "seconds": f"{measured['seconds']:.2f}",
                        "memory / file": f"{measured['bytes'] / size:.2f}",
                    }
                )
    return pd.DataFrame(rows).to_string(index=False)


def over_images_table(settings: over_images.Settings, contestants: list[str], *, with_limit: bool) -> str:
    """Measures contestants, names of `_OVER_IMAGES`, that compute a vector for each image, and compares the vectors.

    Args:
        settings: the task of all contestants.
        contestants: their names.
        with_limit: whether to report speeds relative to the limit of each protocol, too.
    """
    measured, limits = {}, {}
    for name in contestants:
        told, contestant, protocol = _OVER_IMAGES[name]
        measured[told] = apart(contestant, settings), protocol
        if with_limit and protocol not in limits:
            limits[protocol] = apart(_limit, settings, protocol)
    first = next(iter(measured.values()))[0]
    largest = abs(first["rows"]).max()
    rows = []
    for told, (result, protocol) in (measured | {f"{LIMIT}, {of}": (limit, of) for of, limit in limits.items()}).items():
        share = {"of limit": f"{limits[protocol]['seconds'] / result['seconds']:.0%}"} if with_limit else {}
        rows.append(
            {
                "contestant": told,
                "seconds": f"{result['seconds']:.1f}",
                "images/s": f"{len(settings.paths) / result['seconds']:.3g}",
                **share,
                "time / first": f"{result['seconds'] / first['seconds']:.2f}",
                "idle GB": f"{result['idle bytes'] / 1e9:.2f}",
                "peak GB": f"{result['peak bytes'] / 1e9:.2f}",
                "largest difference": f"{abs(result['rows'] - first['rows']).max() / largest:.1e}" if "rows" in result else "",
            }
        )
    return pd.DataFrame(rows).to_string(index=False)


def _limit(settings: over_images.Settings, protocol: str) -> dict:
    entry.import_tensorflow()
    from benchmarking import limit

    return limit.over_images_seconds(settings, protocol)
