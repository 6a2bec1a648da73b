"""The image descriptor of Appendix B, as data, and its computation from the features of views.

A layer's activations are averaged over positions and with those of the mirror image (`network`), at each scale Q. Here they are
averaged or concatenated over scales and L2-normalized: that is a net's descriptor. Several nets are combined by stacking their
normalized descriptors, so that none dominates by its magnitude; the stack is then normalized as a whole, which is the same factor
for all images.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.inference.views import CENTER, DENSE, Views, passes
from keras_vgg.precision import FLOAT32, checked

COMBINATIONS = ("average", "stack")
ROUNDINGS = ("floor", "ceil")


@dataclasses.dataclass(frozen=True)
class DescriptorProtocol:
    """How an image becomes a descriptor. The defaults are the paper's.

    Attributes:
        layer: name of the layer, e.g. `"fc2"`, `"fc1"`, `"block5_pool"`.
        scales: smallest sides Q; `None` for each net's default scale, the middle of those it was trained at.
        flip: whether to average with the mirror image; `None` for as in the training of each net.
        combine: how to combine several scales: `"average"` (VOC in Table 11), or `"stack"` (Caltech), which multiplies the
            length.
        normalize: whether to L2-normalize each net's part and the whole.
        pooling: rounding of odd sizes in whole images, `"floor"` as in Keras or `"ceil"` as in Caffe, for nets with their top; as
            in `network.Network`.
        dense: whether to use the whole image, as in the paper, or its center crop, for nets with their top.
        precision: compute precision of the layers, one of `precision.PRECISIONS`; means, norms and descriptors are float32.

    Raises:
        InputError: for values out of range.
    """

    layer: str = "fc2"
    scales: tuple[int, ...] | None = None
    flip: bool | None = None
    combine: str = "average"
    normalize: bool = True
    pooling: str = "floor"
    dense: bool = True
    precision: str = FLOAT32

    def __post_init__(self):
        if self.combine not in COMBINATIONS:
            raise InputError(f"`combine` must be one of {', '.join(COMBINATIONS)}. Received: combine={self.combine!r}.")
        if self.pooling not in ROUNDINGS:
            raise InputError(f"`pooling` must be one of {', '.join(ROUNDINGS)}. Received: pooling={self.pooling!r}.")
        checked(self.precision)
        if self.scales is not None:
            self.views(0)

    def views(self, default_scale: int, default_flip: bool = True) -> tuple[Views, ...]:
        """Returns the passes of one net, whose default Q and flip are used where `scales` and `flip` are `None`."""
        flip = default_flip if self.flip is None else self.flip
        return passes(DENSE if self.dense else CENTER, (default_scale,) if self.scales is None else tuple(self.scales), flip=flip)


def descriptors(features: Sequence[Sequence[np.ndarray]], protocol: DescriptorProtocol) -> np.ndarray:
    """Returns the descriptors of images from the features of their views.

    Args:
        features: for each net, for each of its scales, `(n, channels)` means over positions and mirror images.
        protocol: how they are combined.

    Returns:
        `(n, D)` float32, where D is the sum of the nets' channels (times their scales, if stacked). If a feature is not finite,
        the whole row is NaN.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.descriptors.descriptor import DescriptorProtocol, descriptors
        >>> descriptors([[np.array([[3.0, 0.0]]), np.array([[3.0, 8.0]])]], DescriptorProtocol())
        array([[0.6, 0.8]], dtype=float32)
    """
    nets = []
    for by_scale in features:
        arrays = [each.astype(np.float64) for each in by_scale]
        combined = np.concatenate(arrays, axis=1) if protocol.combine == "stack" else functools.reduce(np.add, arrays) / len(arrays)
        nets.append(_of_length_one(combined) if protocol.normalize else combined)
    stacked = np.concatenate(nets, axis=1)
    result = (_of_length_one(stacked) if protocol.normalize else stacked).astype(np.float32)
    result[~np.isfinite(result).all(axis=1)] = np.nan
    return result


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # from rows that are not finite, which stay so
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths == 0, 1, lengths)  # a row of zeros, as for a black image, has no direction
