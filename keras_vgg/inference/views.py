"""Views of an image in testing (Sec. 3.2), as data.

A protocol is one or two kinds of views, one scale Q per pass, and whether to include flips. In any protocol, the posteriors of
all views are averaged.
"""

import dataclasses

from keras_vgg.errors import InputError

DENSE, MULTI_CROP, CENTER = "dense", "multi-crop", "center"
PROTOCOLS = {DENSE: (DENSE,), MULTI_CROP: (MULTI_CROP,), CENTER: (CENTER,), "both": (DENSE, MULTI_CROP)}
"""Kinds of views of each protocol. The multi-crop grid is `GRID` x `GRID`; with flips, the paper's 50 crops per scale."""

OF_LOCALISERS = (DENSE, CENTER)
"""Kinds of views for localisers."""

GRID = 5


@dataclasses.dataclass(frozen=True)
class Views:
    """One pass over the images with one net.

    Attributes:
        kind: `"dense"` for the whole image, `"multi-crop"` for a regular grid of crops that reaches the borders, `"center"`
            for the center crop.
        scale: Q, the smallest side of the rescaled image, pixels.
        flip: whether to include the mirror image.
    """

    kind: str
    scale: int
    flip: bool = True

    def __str__(self):
        return f"{self.kind} at {self.scale}{'' if self.flip else ', no flip'}"

    def pixels(self, height: int, width: int, crop: int) -> int:
        """Returns the number of pixels that the net processes for an image rescaled to this size."""
        seen = {DENSE: height * width, MULTI_CROP: (GRID * crop) ** 2, CENTER: crop * crop}[self.kind]
        return seen * (2 if self.flip else 1)


def passes(protocol: str, scales: tuple[int, ...], *, flip: bool = True) -> tuple[Views, ...]:
    """Returns the passes of a protocol: each kind of view at each scale.

    Raises:
        InputError: for an unknown protocol, or no scale.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: protocol={protocol!r}.")
    if not scales or any(scale < 1 for scale in scales):
        raise InputError(f"`scales` must be positive numbers of pixels. Received: scales={scales!r}.")
    return tuple(Views(kind, scale, flip) for kind in PROTOCOLS[protocol] for scale in dict.fromkeys(scales))
