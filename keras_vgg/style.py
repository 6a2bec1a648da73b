"""Paints one image in the style of another: `python -m keras_vgg.style --content photo.jpg --style painting.jpg --out picture.png`.

Ctrl-C stops early and keeps the picture so far. The text chunks of the PNG contain the SHA-256 digests of the net and both
images, and the settings.
"""

import dataclasses
import io
import pathlib
import sys
from typing import Any

import keras_vgg
from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.features.style_settings import Settings
from keras_vgg.precision import told
from keras_vgg.support import cli, entry, extras, files, paths, picture
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import Progress
from keras_vgg.training.signals import StopRequest

_SMALLEST, _LARGEST = configs.STRIDE, 2048
_PASSES = 2  # per step, at least: forward and backward
_PLACES = {"content": str, "style": str, "weights": str, "arch": str, "preprocessing": str, "out": str, "size": int}
_PATHS = ("content", "style", "weights", "out")
_DEFAULTS = {"weights": "imagenet", "arch": None, "preprocessing": None, "out": "picture.png", "size": 256}


def main(argv: list[str]) -> int | None:
    """Parses `argv`, paints, writes the picture, and returns the exit code."""
    given = vars(_parser().parse_args(argv))
    extras.require("style")
    values = _DEFAULTS | _read_recipe(given.pop("recipe", None)) | given
    settings = Settings(**{name: value for name, value in values.items() if name not in _PLACES})
    out = _check(values)
    (content, of_content), (style, of_style) = (_read_image(values[name], values["size"]) for name in ("content", "style"))
    entry.import_tensorflow()
    from keras_vgg.features import style_transfer as painting
    from keras_vgg.identity import digest_of_image, digest_of_net
    from keras_vgg.mixed_precision import multiply_adds
    from keras_vgg.support import half_precision

    net = painting.open_net(values["arch"], values["weights"], settings, preprocessing=values["preprocessing"])
    print(painting.preprocessing_text(net))
    pixels = content.shape[0] * content.shape[1]
    half_precision.advise(settings.precision, settings.steps * _PASSES * pixels * multiply_adds(net))
    computed = f", computed in {settings.precision}" if told(settings.precision) else ""
    print(f"{content.shape[1]}x{content.shape[0]} pixels, {counted(settings.steps, 'step')}{computed}", flush=True)
    done, stopped, failed = _paint(painting, content, style, net, settings)
    if done.step or not (stopped or failed):
        facts = {
            "net": net.name,
            "net sha256": digest_of_net(net),  # of the layers up to the deepest one used
            "content sha256": digest_of_image(of_content),
            "style sha256": digest_of_image(of_style),
            "settings": dataclasses.asdict(settings) | {"size": values["size"]},
            "steps": done.step,
            "loss": done.loss if done.step else None,
            "keras_vgg": keras_vgg.__version__,
        }
        picture.write_png(out, done.picture, facts)
        ended = f"loss {done.loss:.4g} after {counted(done.step, 'step')}" if done.step else "unchanged: no step lowers the loss"
        print(f"{out}: {ended}{', interrupted' if stopped else ''}")
    if failed:
        raise failed
    return 128 + stopped if stopped else None


def _parser() -> cli.Parser:
    parser = cli.Parser(
        prog="python -m keras_vgg.style", description=__doc__.split("\n")[0], argument_default=cli.argparse_flags.argparse.SUPPRESS
    )
    parser.add_argument("--content", type=cli.path, metavar="IMAGE", help="image that gives the content")
    parser.add_argument("--style", type=cli.path, metavar="IMAGE", help="image that gives the style")
    parser.add_argument("--out", type=cli.path, metavar="FILE", help=f"output file, PNG (default: {_DEFAULTS['out']})")
    parser.add_argument("--size", type=int, metavar="PIXELS", help=f"longer side of both images (default: {_DEFAULTS['size']})")
    parser.add_argument(
        "--weights", type=cli.path, metavar="PATH", help="weight file, run folder or public name (default: imagenet)"
    )
    parser.add_argument(
        "--arch",
        **cli.named(configs.arch_called, configs.CONFIGS),
        help="net (default: that of the weight file; E for a public name)",
    )
    parser.add_argument("--preprocessing", choices=cli.PREPROCESSINGS, help="input preprocessing, if the weights record none")
    parser.add_argument(
        "--recipe", type=cli.path, metavar="FILE", help="recipe (TOML) with these flags, e.g. recipes/style.toml; flags override it"
    )
    for field in dataclasses.fields(Settings):
        shown = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        options = {"nargs": "+", "metavar": "LAYER"} if isinstance(field.default, tuple) else {"type": field.type}
        if field.metadata["choices"]:
            options["choices"] = field.metadata["choices"]
        parser.add_argument(f"--{field.name.replace('_', '-')}", help=f"{field.metadata['help']} (default: {shown})", **options)
    return parser


def _read_recipe(path: str | None) -> dict:
    kinds: dict[str, Any] = _PLACES | {field.name: field.type for field in dataclasses.fields(Settings)}
    values = files.read_recipe_file(path) if path else {}
    if unknown := [key for key in values if key not in kinds]:
        raise InputError(f"Recipe {path} has unknown keys: {', '.join(unknown)}. Known: {', '.join(kinds)}.")
    for key, value in values.items():
        if kinds[key] in (str, int):
            fits, expected = type(value) is kinds[key], {str: "text", int: "a whole number"}[kinds[key]]
        elif kinds[key] is float:
            fits, expected = type(value) in (int, float), "a number"
        else:
            fits, expected = isinstance(value, list) and all(isinstance(each, str) for each in value), "a list of layer names"
        if not fits:
            raise InputError(f"Recipe {path}: `{key}` must be {expected}. Received: {value!r}.")
    return values | {key: paths.expanded(values[key]) for key in _PATHS if key in values}


def _check(values: dict) -> pathlib.Path:
    if missing := [f"--{name} IMAGE" for name in ("content", "style") if name not in values]:
        raise InputError(f"Pass {' and '.join(missing)}.")
    if not _SMALLEST <= values["size"] <= _LARGEST:
        raise InputError(f"`--size` must be {_SMALLEST} to {_LARGEST} pixels. Received: {values['size']}.")
    out = pathlib.Path(values["out"])
    if out.suffix.lower() != ".png":
        raise InputError(f"`--out` must end in .png. Received: {out}.")
    files.check_file(out)
    return out


def _read_image(path: str, size: int):
    """Returns an image file's pixels, `(height, width, 3)` uint8, rescaled to a longer side of `size`, and its bytes."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        encoded = pathlib.Path(path).read_bytes()
        with Image.open(io.BytesIO(encoded)) as opened:
            opened.draft("RGB", (2 * size, 2 * size))  # a large JPEG is reduced while it is decoded
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits per channel, which Pillow would clip at 255
                image = Image.fromarray((np.asarray(image, np.int64) >> 8).astype(np.uint8))
            image = image.convert("RGB")
    except Exception as error:  # a damaged file can make Pillow raise anything
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise InputError(f"Expected an image. Received: {path} ({reason}).") from error
    zoom = size / max(image.size)
    width, height = (round(zoom * side) for side in image.size)
    if min(width, height) < _SMALLEST:
        raise InputError(f"{path} is {width}x{height} pixels at this size; each side must be at least {_SMALLEST}.")
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), encoded


def _paint(painting, content, style, net, settings):
    done, failed = painting.Progress(0, float("nan"), content), None
    with StopRequest("keeping the picture so far") as stop, Progress(settings.steps, stream=sys.stdout, unit="steps") as progress:

        def watch(now):
            nonlocal done
            done = now
            progress.count(1)
            progress.show(f"step {now.step}/{settings.steps}  loss {now.loss:.4g}")
            return bool(stop)

        try:
            picture = painting.style_transfer(content, style, net, settings, watch=watch)
            done = dataclasses.replace(done, picture=picture)
        except InputError as error:  # raised once the picture so far is written
            failed = error
    if done.step:
        progress.say(f"step {done.step}/{settings.steps}  loss {done.loss:.4g}  {progress.images_per_second:.3g} steps/s")
    return done, stop.signal, failed


if __name__ == "__main__":
    entry.run(main)
