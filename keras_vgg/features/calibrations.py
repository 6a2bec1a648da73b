"""Calibrations fitted to human judgments: the small files that turn torchvision's VGG16 into perceptual distances."""

import os
import pathlib

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.weights import download
from keras_vgg.weights.catalogue import File
from keras_vgg.weights.kinds import tell
from keras_vgg.weights.stored_array import StoredArray

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
"""The activations of net D that both distances compare."""

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of `LAYERS` at the net's full width."""

LPIPS = {
    "0.1": File(
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
        "sha256:a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        7289,
        kept_as="lpips-0.1-vgg.pth",
    ),
    "0.0": File(
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.0/vgg.pth",
        "sha256:b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
        6735,
        kept_as="lpips-0.0-vgg.pth",
    ),
}
"""The authors' linear weights by version (Zhang et al. 2018; BSD-2-Clause)."""

DISTS = File(
    "https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/weights.pt",
    "sha256:f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
    12288,
    kept_as="dists-weights.pt",
)
"""The authors' α and β (Ding et al. 2020; MIT)."""

_PIXELS = 3  # DISTS compares the images themselves, too


def read_lpips(calibration: str | os.PathLike[str] | None, version: str) -> list[np.ndarray]:
    """Returns the linear weights of LPIPS for each of `LAYERS`, one per channel: `(C,)` float32.

    Args:
        calibration: a file with arrays named as in the authors' `vgg.pth`; `None` for that of `version`, downloaded if needed.
        version: a key of `LPIPS`.

    Raises:
        InputError: for an unknown version, or a file that is missing, damaged or of another kind.
    """
    if version not in LPIPS:
        raise InputError(f"`version` must be {' or '.join(map(repr, LPIPS))}. Received: version={version!r}.")
    path, arrays = _open(calibration, LPIPS[version])
    return [_values(path, arrays, f"lin{place}.model.1.weight", size) for place, size in enumerate(CHANNELS)]


def read_dists(calibration: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns α and β of DISTS, the weights of its two terms for each channel of the images and of `LAYERS`: `(1475,)`.

    Args:
        calibration: a file with arrays named as in the authors' `weights.pt`; `None` for that one, downloaded if needed.

    Raises:
        InputError: for a file that is missing, damaged or of another kind.
    """
    path, arrays = _open(calibration, DISTS)
    alpha, beta = (_values(path, arrays, name, _PIXELS + sum(CHANNELS)) for name in ("alpha", "beta"))
    return alpha, beta


def _open(calibration, public: File) -> tuple[pathlib.Path, dict[str, StoredArray]]:
    path = download.fetch(public, argument="calibration") if calibration is None else pathlib.Path(calibration)
    return path, dict(tell(path).read(path).arrays)


def _values(path: pathlib.Path, arrays: dict[str, StoredArray], name: str, size: int) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"`calibration` must contain {name!r}. Received: {path}, which contains {', '.join(list(arrays)[:5])}.")
    values = np.asarray(arrays[name].read(), np.float32).reshape(-1)
    if values.size != size or not np.isfinite(values).all() or (values < 0).any():
        raise InputError(
            f"`calibration` must contain {size} nonnegative numbers as {name!r}. Received: {path} with an array of shape "
            f"{tuple(arrays[name].shape)}{'' if values.size != size else ', of which some are negative or not finite'}."
        )
    return values
