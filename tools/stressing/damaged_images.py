"""Small images of every format, to be damaged, and the three ways in which the package reads images."""

import hashlib
import pathlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from stressing import damage

BATCH = 2000  # images of one child, which first traces its graphs
READERS = ("training", "testing", "serving")
_CROP, _SCALES = 64, (64, 96)
_SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("RGB", {"format": "JPEG"}),
    "JPEG, progressive": ("RGB", {"format": "JPEG", "progressive": True}),
    "JPEG, grey": ("L", {"format": "JPEG"}),
    "JPEG, CMYK": ("CMYK", {"format": "JPEG"}),
    "JPEG, 4:4:4": ("RGB", {"format": "JPEG", "subsampling": 0, "quality": 95}),
    "JPEG, restarts": ("RGB", {"format": "JPEG", "restart_marker_blocks": 2}),
    "PNG": ("RGB", {"format": "PNG"}),
    "PNG, alpha": ("RGBA", {"format": "PNG"}),
    "PNG, palette": ("P", {"format": "PNG"}),
    "PNG, grey": ("L", {"format": "PNG"}),
    "PNG, one bit": ("1", {"format": "PNG"}),
    "PNG, 16 bits": ("I;16", {"format": "PNG"}),
    "GIF": ("P", {"format": "GIF"}),
    "GIF, animated": ("P", {"format": "GIF", "save_all": True}),
    "BMP": ("RGB", {"format": "BMP"}),
    "BMP, grey": ("L", {"format": "BMP"}),
    "BMP, alpha": ("RGBA", {"format": "BMP"}),
    "WebP": ("RGB", {"format": "WEBP"}),
    "WebP, lossless": ("RGB", {"format": "WEBP", "lossless": True}),
    "WebP, alpha": ("RGBA", {"format": "WEBP"}),
    "WebP, animated": ("RGB", {"format": "WEBP", "save_all": True}),
}
KINDS = tuple(_SAVED)


def write_samples(folder: pathlib.Path) -> None:
    """Writes an image of every kind."""
    generator = np.random.default_rng(0)
    rough = generator.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    picture = Image.fromarray(rough).resize((150, 112), Image.Resampling.BICUBIC)
    for kind, (mode, options) in _SAVED.items():
        if mode == "I;16":
            image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        else:
            image = picture.convert(mode)
        if options.get("save_all"):
            options = options | {"append_images": [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}
        image.save(folder / kind, **options)


def draw(samples: pathlib.Path, generator: random.Random) -> tuple[str, str, bytes]:
    """Returns a kind, how it was damaged, and the damaged image."""
    kind = generator.choice(KINDS)
    return kind, *damage.damaged(undamaged(samples, kind), generator)


def undamaged(samples: pathlib.Path, kind: str) -> bytes:
    """Returns the image of a kind as it is."""
    return (samples / kind).read_bytes()


def make_readers(samples: pathlib.Path, work: pathlib.Path) -> dict[str, Callable]:
    """Returns `{reader: read(kind, content) -> digest of the pixels}`; `InputError` where the package leaves an image out."""
    import tensorflow as tf

    from keras_vgg.data import images
    from keras_vgg.data.pipeline import View
    from keras_vgg.errors import InputError
    from keras_vgg.serving import encoded as serving

    view = View(crop=_CROP, scales=_SCALES, flip=True, random=True)
    text = [tf.TensorSpec([], tf.string)]

    @tf.function(input_signature=text)
    def training(encoded):
        return view(encoded, tf.constant(7, tf.int64), tf.constant(0))[0]

    @tf.function(input_signature=text)
    def testing(encoded):
        height, width = tf.unstack(images.encoded_size(encoded))
        return images.decode_whole(encoded, images.rescaled_size(height, width, _CROP))

    @tf.function(input_signature=text)
    def served(encoded):
        pixels, error = serving.rescaled_images(encoded, (_CROP,), crop=None, most_pixels=2**22)
        return pixels[0], error

    def raising(read):
        def digest(kind: str, content: bytes) -> str:
            try:
                return _digest(read(tf.constant(content)))
            except tf.errors.InvalidArgumentError as error:  # what the pipeline and the tests take for a broken image
                raise InputError(str(error).strip().split("\n")[0]) from error

        return digest

    def serve(kind: str, content: bytes) -> str:
        pixels, error = served(tf.constant(content))
        if reason := error.numpy().decode():
            raise InputError(reason)
        return _digest(pixels)

    return {"training": raising(training), "testing": raising(testing), "serving": serve}


def _digest(pixels) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.numpy().tobytes()).hexdigest()
