"""What a set of weights wants of an image: colour order, mean and deviation.

Images come as RGB in 0–255. The one place that knows "caffe" from "torch" input.
"""

import dataclasses
import json
import pathlib
import zipfile

import tensorflow as tf

_MEMBER = "keras_vgg.json"  # in a .keras file, which is a zip archive; Keras leaves members alone that it does not know


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """`(image - mean) / std` per channel, after turning RGB to BGR if so wanted.

    Attributes:
        mean: subtracted from the channels, RGB, in the unit of the image (0–255).
        std: the channels are divided by it, RGB, in the unit of the image.
        bgr: whether the channels are turned to blue, green, red (the authors' Caffe weights).
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    def __call__(self, images):
        """`(…, 3)` RGB in 0–255 of any dtype to float32 of the same shape; never changes its argument."""
        images = (tf.cast(images, tf.float32) - tf.constant(self.mean, tf.float32)) / tf.constant(self.std, tf.float32)
        return images[..., ::-1] if self.bgr else images


CAFFE = Preprocessing(mean=(123.68, 116.779, 103.939), bgr=True)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def attach(path: str | pathlib.Path, preprocessing: Preprocessing) -> None:
    """Writes `preprocessing` into the `.keras` file at `path`, so that the file says what its weights want."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_MEMBER, json.dumps(dataclasses.asdict(preprocessing)))


def read_attached(path: str | pathlib.Path) -> Preprocessing | None:
    """Returns what `attach` wrote into the `.keras` file at `path`; `None` if it has nothing of the kind."""
    with zipfile.ZipFile(path) as archive:
        if _MEMBER not in archive.namelist():
            return None
        values = json.loads(archive.read(_MEMBER))
    return Preprocessing(tuple(values["mean"]), tuple(values["std"]), values["bgr"])
