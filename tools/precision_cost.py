"""Measures the cost of lower precision: errors of one net in float32, in half precision and in files for other engines.

`python tools/precision_cost.py --model runs/flowers17 --dataset folder:flowers17 --scales 224 256 288 --file flowers17.onnx`: all
see the same whole images, densely (Sec. 3.2) at every scale; posteriors are averaged over the scales. The table also counts the
predictions of a contestant that change from right to wrong and from wrong to right.
"""

import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # measures this checkout, whatever is installed

import numpy as np
from benchmarking import machine

from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, PRECISIONS
from keras_vgg.support import cli, entry, extras


def main(argv: list[str]) -> None:
    """Parses `argv`, measures and prints the results."""
    parser = cli.Parser(prog="python tools/precision_cost.py", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=cli.path, required=True, metavar="PATH", help="run folder or weight file")
    parser.add_argument(
        "--dataset", required=True, help="dataset with the net's classes; tests the split that keras_vgg.evaluate would"
    )
    parser.add_argument("--scales", nargs="+", type=int, required=True, metavar="Q", help="smallest sides Q")
    parser.add_argument(
        "--file", nargs="+", type=cli.path, default=[], metavar="FILE", help="files exported from the net by keras_vgg.export"
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        default=("mixed_bfloat16",),
        help="precisions in addition to float32 (default: mixed_bfloat16)",
    )
    arguments = parser.parse_args(argv)
    _check_files(arguments.file)
    entry.import_tensorflow()
    print(_table(arguments))


def _check_files(files: list[str]) -> None:
    from keras_vgg.serving.engines import FORMATS

    for file in map(pathlib.Path, files):
        name = next((name for name, each in FORMATS.items() if each.suffix == file.suffix), None)
        if name is None or not file.is_file():
            known = ", ".join(each.suffix for each in FORMATS.values())
            raise InputError(f"`--file` must be a file of keras_vgg.export ({known}). Received: {file}.")
        extras.require(name)


def _table(arguments) -> str:
    from keras_vgg.data.datasets import open_dataset
    from keras_vgg.evaluation.run import split_of
    from keras_vgg.identity import digest_of_images, digest_of_net
    from keras_vgg.inference.images import look_through
    from keras_vgg.inference.net_files import open_net_file
    from keras_vgg.serving.file_figures import errors, format_table

    source, dataset = open_net_file(arguments.model), open_dataset(arguments.dataset)
    source.check_classifier()
    split = split_of(dataset, {source.name: source}, [source.name])
    of_classes = source.labels_of(dataset.classes, source.count_classes(), say=_tell)
    images, unusable = look_through(dataset.split(split), stream=sys.stderr)
    for name, reason in unusable.rows():
        _tell(f"skipped {name}: {reason}")
    survey = images.survey
    of_images, of_net = digest_of_images(survey.fingerprints, survey.labels), digest_of_net(source.load_model())
    mirrored = ", mirror images too" if source.flip else ""
    print(f"{machine.describe()}\nnet {of_net[:8]}, {dataset.description}, {split} ({of_images[:8]}){mirrored}", flush=True)
    labels, first, rows = np.append(of_classes, -1)[survey.labels], None, []
    for name, open_computer in _computers(source, arguments).items():
        computer, began = open_computer(), time.perf_counter()
        posteriors = np.mean([_posteriors(computer, images, source, scale) for scale in arguments.scales], axis=0)
        seconds = time.perf_counter() - began
        first = posteriors if first is None else first
        known = ~np.isnan(first[:, 0]) & (labels >= 0)
        rows.append(
            {"computed by": name, "images": known.sum()}
            | errors(posteriors[known], first[known], labels[known])
            | {"largest difference": np.abs(posteriors - first)[known].max(), "images/s": known.sum() / seconds}
        )
    return format_table(rows)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _computers(source, arguments) -> dict:
    """Returns a function that opens each contestant, by name."""
    nets = {precision: functools.partial(source.load, precision=precision) for precision in (FLOAT32, *arguments.precisions)}
    return nets | {pathlib.Path(file).name: functools.partial(_File, pathlib.Path(file), source) for file in arguments.file}


class _File:
    """Computes probabilities from a file, with the interface that a pass over images needs; the file handles mirror images."""

    def __init__(self, file: pathlib.Path, source):
        from keras_vgg.serving.engines import FORMATS

        network = source.load()
        self.model, self.crop, self.classes = network.model, network.crop, network.classes
        self.smallest_input = network.smallest_input
        self._run = next(each for each in FORMATS.values() if each.suffix == file.suffix).open(file)

    def see(self, images, views, which=None) -> np.ndarray:
        """Returns `(B, classes)` for images, `(B, height, width, 3)`, one at a time."""
        return np.concatenate([self._run(image[np.newaxis]) for image in np.asarray(images).astype(np.float32)])


def _posteriors(computer, images, source, scale: int) -> np.ndarray:
    from keras_vgg.inference.passes import BATCH, Pass, run_passes
    from keras_vgg.inference.row_cache import RowCache
    from keras_vgg.inference.views import DENSE, Views

    store = RowCache.in_memory(images.split.size, computer.classes)
    run_passes([Pass(source.name, [computer], Views(DENSE, scale, source.flip), store)], images, batch=BATCH, stream=sys.stderr)
    return store.rows


if __name__ == "__main__":
    entry.run(main)
