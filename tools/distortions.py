"""Draws a photograph with several distortions, captioned with LPIPS, DISTS and the mean squared error, to show where they
disagree.

`python tools/distortions.py --out docs/pictures/distortions.png`: the photograph is scikit-learn's `china.jpg`, distorted with
Pillow and NumPy with a fixed seed. The picture records the digests of the models and the photograph.
"""

import io
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # measures this checkout, whatever is installed

import numpy as np
from PIL import Image, ImageFilter

from keras_vgg.support import cli, entry, extras, sheet

_SIDE, _CORNER = 256, (170, 60)  # of the displayed part: left, top
_SHIFT = 3


def main(argv: list[str]) -> None:
    """Parses `argv`, measures, prints the figures and draws the picture."""
    parser = cli.Parser(prog="python tools/distortions.py", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=cli.path, required=True, metavar="FILE", help="PNG file to write")
    parser.add_argument(
        "--weights", type=cli.path, default="imagenet_torchvision", help="torchvision's VGG16 (default: downloaded)"
    )
    parser.add_argument("--lpips-calibration", type=cli.path, metavar="FILE", help="linear weights of LPIPS (default: downloaded)")
    parser.add_argument("--dists-calibration", type=cli.path, metavar="FILE", help="α and β of DISTS (default: downloaded)")
    arguments = parser.parse_args(argv)
    extras.require("evaluate")
    entry.import_tensorflow()
    from keras_vgg.features import dists_model, lpips_model
    from keras_vgg.features.distances import digest_of_distance
    from keras_vgg.identity import digest_of_image

    models = {
        "LPIPS": lpips_model(arguments.weights, calibration=arguments.lpips_calibration),
        "DISTS": dists_model(arguments.weights, calibration=arguments.dists_calibration),
    }
    shown = distorted(photograph())
    whole, captions = shown["the photograph"], []
    for name, pixels in shown.items():
        found = {each: float(model([whole[np.newaxis], pixels[np.newaxis]])[0]) for each, model in models.items()}
        figures = {each: f"{value:.3f}" for each, value in found.items()}
        figures["MSE"] = f"{np.mean((whole.astype(np.float64) - pixels) ** 2):.0f}"
        captions.append("\n".join([name, *(f"{each} {value}" for each, value in figures.items())]))
        print(name, figures)
    facts = {f"{name} sha256": digest_of_distance(model) for name, model in models.items()}
    facts["photograph sha256"] = digest_of_image(whole.tobytes())
    title = "One photograph and four distortions: LPIPS, DISTS and mean squared error (0–255)"
    sheet.draw(pathlib.Path(arguments.out), [*shown.values()], captions, title=title, facts=facts, side=1.9)


def photograph() -> Image.Image:
    """Returns a part of scikit-learn's photograph of a pagoda, with a margin."""
    from sklearn.datasets import load_sample_image

    left, top = _CORNER
    box = (left - _SHIFT, top, left + _SIDE, top + _SIDE)
    return Image.fromarray(load_sample_image("china.jpg")).crop(box)


def distorted(image: Image.Image) -> dict[str, np.ndarray]:
    """Returns the photograph and its distortions, `(256, 256, 3)` uint8 each; noise and blur have the same squared error."""
    whole = np.asarray(image)[:, _SHIFT:]
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)))[:, _SHIFT:]
    deviation = np.sqrt(np.mean((whole.astype(np.float64) - blurred) ** 2))
    noise = np.random.default_rng(0).normal(0, 1, whole.shape)
    for _ in range(20):  # compensates for clipping at black and white
        noisy = np.clip(whole + deviation * noise, 0, 255)
        deviation *= np.sqrt(np.mean((whole.astype(np.float64) - blurred) ** 2) / np.mean((whole - noisy) ** 2))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=12)
    return {
        "the photograph": whole,
        "blurred": blurred,
        "noise of the same MSE": np.round(noisy).astype(np.uint8),
        "JPEG of quality 12": np.asarray(Image.open(buffer))[:, _SHIFT:],
        f"shifted by {_SHIFT} pixels": np.asarray(image)[:, :-_SHIFT],
    }


if __name__ == "__main__":
    entry.run(main)
