"""Compares our training step, forward pass and pipeline with the installed peers: stock Keras and torchvision.

`python tools/benchmark.py train`, `predict`, `input`, `small`: contestants do the same work on the same images, each in its own
process, in alternating rounds; images per second are medians over the rounds. Their common limit, the net's convolutions and
matrix products alone, is measured in the same rounds. `listing` measures opening a long listing, `records` TFRecord files,
`weights` loading weight files, `evaluate` testing protocols, `extract` descriptors, `lpips` training with that loss, `merging`
the merging of boxes, `neighbours` precision and recall, `serving` requests with many images.
"""

import argparse
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # measures this checkout, whatever is installed

from benchmarking import alone, contest, machine, merging, neighbours, over_images, pictures, records, serving

from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, PRECISIONS
from keras_vgg.support import cli, entry, huge_pages
from keras_vgg.support.counts import counted

IMAGES = 1000
_WARM_UP_IMAGES, _WARM_UP_BATCHES = 256, 8  # minimum, so that buffers contain nothing made before the clock starts
_PEER_NETS = {"keras": ("D", "E"), "torchvision": ("A", "B", "D", "E")}
_PACKAGES = {"ours": ("tensorflow",), "keras": ("tensorflow",), "torchvision": ("torch", "torchvision"), "limit": ("tensorflow",)}
_MODULES = {"ours": "ours", "keras": "keras_peer", "torchvision": "torch_peer", "limit": "limit"}
_ENVIRONMENTS = dict.fromkeys(("ours", "limit"), huge_pages.ENVIRONMENT)  # as keras_vgg.fit does
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # PyTorch always uses it; TensorFlow does by default on CPUs with AVX-512

_OVER_IMAGES = {
    "evaluate": ("testing protocols", ("dense", "multi-crop", "predict-loop", "torchvision-loop")),
    "extract": ("descriptors", ("ours", "predict-loop", "function-loop", "torchvision-loop")),
}
"""Commands that go through images once: what they measure, and their contestants."""


def main(argv: list[str]) -> None:
    """Parses `argv`, measures and prints the results."""
    arguments = _parser().parse_args(argv)
    arguments.measure(arguments)


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python tools/benchmark.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, work, steps in (("train", "weight updates", 2), ("predict", "forward passes", 3)):
        command = commands.add_parser(name, help=work, description=f"Images per second of {work}.")
        kind = {"train": "Training", "predict": "Forward"}[name]
        command.set_defaults(measure=_compare_nets, work=work, kind=kind, micro_batches=1, jit=None)
        _add_arch(command)
        _add_precision(command)
        _add_limit(command)
        if name == "train":
            command.add_argument(
                "--jit", action=argparse.BooleanOptionalAction, help="compile ours with XLA (default: as keras_vgg.fit)"
            )
            _add_numbers(command, {"micro-batches": (1, "micro-batches per update, whose gradients are accumulated")})
        _add_contest_flags(command, batch=8, steps=steps)
    command = commands.add_parser("input", help="input pipelines", description="Images per second of input pipelines.")
    command.set_defaults(measure=_compare_pipelines)
    _add_images(command)
    command.add_argument(
        "--jitter", nargs=2, type=_positive, metavar=("SMIN", "SMAX"), default=(256, 512), help="scale jitter (default: 256 512)"
    )
    _add_contest_flags(command, batch=32, steps=32)
    command = commands.add_parser(
        "small", help="narrow nets on small images", description="Images per second of narrow nets, from files to updates."
    )
    command.set_defaults(measure=_compare_small)
    _add_arch(command)
    _add_precision(command)
    command.add_argument(
        "--folder", type=cli.path, required=True, metavar="PATH", help="class folders of small images, with or without train/"
    )
    command.add_argument("--width", type=float, default=0.25, help="factor on all filters (default: %(default)s)")
    numbers = {"crop": (56, "side of the crops in pixels"), "scale": (64, "side of the images"), "batch": (32, "images per step")}
    _add_numbers(command, numbers | {"steps": (100, "steps per contestant and round"), "rounds": (5, "rounds")})
    command = commands.add_parser(
        "lpips", help="updates of a generator by LPIPS", description="Images per second of updates by LPIPS."
    )
    command.set_defaults(measure=_compare_losses)
    command.add_argument("--jit", action=argparse.BooleanOptionalAction, help="compile ours with XLA (default: as Keras)")
    numbers = {"crop": (128, "side of the images in pixels"), "batch": (4, "images per step")}
    _add_numbers(command, numbers | {"steps": (3, "steps per contestant and round"), "rounds": (5, "rounds")})
    command = commands.add_parser("listing", help="opening of a long CSV file", description="Time and memory of a long listing.")
    command.set_defaults(measure=_measure_listing)
    command.add_argument("--rows", type=_positive, default=1281167, help="listed images (default: ImageNet's, %(default)s)")
    command = commands.add_parser(
        "records", help="index and reading of TFRecord files", description="Time of TFDS's records before they are decoded."
    )
    command.set_defaults(measure=_measure_records)
    _add_numbers(command, {"count": (12811, "records of the index, a hundredth of ImageNet's"), "rounds": (5, "rounds of reading")})
    command = commands.add_parser("weights", help="loading of weight files", description="Time and memory of loading weights.")
    command.set_defaults(measure=_measure_weights)
    command.add_argument(
        "--files", type=cli.path, nargs="+", metavar="FILE", help="weight files (default: one generated file of each kind)"
    )
    command.add_argument(
        "--arch", choices=("A", "B", "D", "E"), default="D", help="net of the generated files (default: %(default)s)"
    )
    command = commands.add_parser("merging", help="merging of boxes", description="Time of merging an image's boxes.")
    command.set_defaults(measure=_measure_merging)
    _add_numbers(command, {"count": (5000, "boxes per image"), "rounds": (5, "rounds")})
    command.add_argument(
        "--threshold", type=float, default=0.5, help="largest match score that is still merged (default: %(default)s)"
    )
    command = commands.add_parser(
        "neighbours", help="precision and recall", description="Time of precision and recall of features."
    )
    command.set_defaults(measure=_measure_neighbours)
    _add_numbers(command, {"count": (10000, "images per set"), "width": (4096, "features per image"), "k": (3, "neighbor")})
    command = commands.add_parser("serving", help="requests with many images", description="Images per second of requests.")
    command.set_defaults(measure=_measure_serving)
    _add_arch(command)
    _add_precision(command)
    _add_images(command)
    numbers = {"count": (16, "images per request"), "scale": (256, "smallest side Q")}
    _add_numbers(command, numbers | {"steps": (1, "requests per round"), "rounds": (3, "rounds")})
    command.add_argument("--width", type=float, default=1.0, help="factor on all filters (default: %(default)s)")
    command.add_argument("--no-dense", dest="dense", action="store_false", help="center crops instead of whole images")
    for name, (work, contestants) in _OVER_IMAGES.items():
        command = commands.add_parser(name, help=work, description=f"Time and memory of {work}, flips on.")
        command.set_defaults(measure=_measure_over_images, layer=over_images.POSTERIORS)
        _add_arch(command)
        _add_precision(command)
        _add_limit(command)
        _add_images(command)
        numbers = {"crop": (configs.TRAINING_SIZE, "side of the net's input"), "batch": (32, "as for keras_vgg.evaluate")}
        _add_numbers(command, numbers | {"count": (20, "images, the given ones repeated")})
        command.add_argument("--width", type=float, default=1.0, help="factor on all filters (default: %(default)s)")
        command.add_argument(
            "--scales",
            nargs="+",
            type=_positive,
            default=(256, 384, 512),
            metavar="Q",
            help="smallest sides Q (default: 256 384 512)",
        )
        command.add_argument(
            "--contestants", nargs="+", choices=contestants, default=contestants, help="what to measure (default: all)"
        )
        if name == "extract":
            command.add_argument("--layer", default="fc2", help="layer whose activations are averaged (default: %(default)s)")
    return parser


def _add_arch(parser) -> None:
    parser.add_argument(
        "--arch",
        **cli.named(configs.arch_called, configs.CONFIGS),
        default="D",
        help="net of Table 1 (default: %(default)s)",
    )


def _add_precision(parser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=FLOAT32, help="compute precision of all contestants (default: %(default)s)"
    )


def _add_limit(parser) -> None:
    parser.add_argument(
        "--limit",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also measure the net's convolutions and matrix products alone, and report all speeds relative to them (default: on)",
    )


def _add_images(parser) -> None:
    parser.add_argument(
        "--images", type=cli.path, nargs="+", metavar="PATH", help="JPEG files or folders of them (default: synthetic)"
    )


def _add_numbers(parser, numbers: dict[str, tuple[int, str]]) -> None:
    for name, (default, help) in numbers.items():
        parser.add_argument(f"--{name}", type=_positive, default=default, help=f"{help} (default: %(default)s)")


def _add_contest_flags(parser, *, batch: int, steps: int) -> None:
    numbers = {
        "crop": (configs.TRAINING_SIZE, "side of the images in pixels"),
        "batch": (batch, "images per step"),
        "steps": (steps, "steps per contestant and round"),
        "rounds": (5, "rounds"),
    }
    _add_numbers(parser, numbers)
    peers = tuple(_PEER_NETS)
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, help="peers to compare with (default: all)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_positive.__name__ = "positive number"  # argparse uses it in its message


def _compare_nets(arguments) -> None:
    _check_crop(arguments)
    pieces, batch = arguments.micro_batches, arguments.batch
    if batch % pieces:
        raise InputError(f"`--micro-batches` must divide the batch, {batch} images. Received: {pieces}.")
    sizes = (arguments.crop, batch, arguments.steps)
    settings = pictures.NetSettings(arguments.arch, *sizes, arguments.jit, arguments.precision, pieces)
    peers = []
    for name in arguments.peers:
        if arguments.arch in _PEER_NETS[name]:
            peers.append(name)
        else:
            print(f"{name}: no net {arguments.arch}")
    if arguments.limit:
        peers.append(contest.LIMIT)
    title = f"{arguments.work}, net {arguments.arch}, {arguments.crop}x{arguments.crop}, {arguments.precision}, batches of {batch}"
    _hold(f"{title}{f' in {pieces} micro-batches' if pieces > 1 else ''}", arguments.kind, settings, peers, arguments)


def _compare_pipelines(arguments) -> None:
    _check_crop(arguments)
    smallest, largest = arguments.jitter
    if not arguments.crop <= smallest <= largest:
        raise InputError(
            f"`--jitter` must be SMIN SMAX with crop {arguments.crop} <= SMIN <= SMAX. Received: {smallest} {largest}."
        )
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures.find_jpegs(arguments.images, IMAGES) if arguments.images else pictures.make_jpegs(folder, IMAGES)
        size = sum(pathlib.Path(path).stat().st_size for path in paths) / len(paths)
        warm_up = max(_WARM_UP_BATCHES, -(-_WARM_UP_IMAGES // arguments.batch))
        settings = pictures.ReadingSettings(paths, arguments.crop, (smallest, largest), arguments.batch, warm_up)
        source = f"{len(set(paths))} {'given' if arguments.images else 'synthetic'} JPEGs of {size / 1e3:.0f} KB"
        view = f"S in [{smallest}; {largest}], {arguments.crop}x{arguments.crop} crops, flips"
        title = f"input pipelines, {source}, {view}, batches of {arguments.batch}"
        _hold(title, "Reading", settings, arguments.peers, arguments)


def _check_crop(arguments) -> None:
    if arguments.crop < configs.STRIDE:
        raise InputError(f"`--crop` must be at least {configs.STRIDE}, as five poolings halve it. Received: {arguments.crop}.")


def _hold(title: str, kind: str, settings, peers: list[str], arguments) -> None:
    def entry(name):
        target = f"benchmarking.{_MODULES[name]}:{kind}"
        return contest.Entry(name, _PACKAGES[name], target, settings, _ENVIRONMENTS.get(name, {}))

    _hold_between(title, [entry("ours"), *map(entry, peers)], arguments)


def _hold_between(title: str, entries: list[contest.Entry], arguments) -> None:
    print(f"{machine.describe()}\n{title}; {counted(arguments.rounds, 'round')} of {counted(arguments.steps, 'step')}", flush=True)
    for each in entries:
        if each.missing:
            print(f"{each.name}: {' and '.join(each.missing)} not installed", flush=True)
    there = [each for each in entries if not each.missing]
    print(contest.table(contest.hold(there, rounds=arguments.rounds, steps=arguments.steps)))


def _compare_losses(arguments) -> None:
    settings = pictures.LossSettings(arguments.crop, arguments.batch, arguments.steps, arguments.jit)
    ours = contest.Entry(
        "ours", ("tensorflow",), "benchmarking.lpips_ours:Training", settings, {_ONEDNN: os.environ.get(_ONEDNN, "1")}
    )
    peer = contest.Entry("lpips", ("torch", "torchvision", "lpips"), "benchmarking.lpips_torch:Training", settings)
    title = f"updates of a generator of {pictures.GENERATOR} filters by LPIPS, {arguments.crop}x{arguments.crop}, float32"
    _hold_between(f"{title}, batches of {arguments.batch}", [ours, peer], arguments)


def _compare_small(arguments) -> None:
    shape = (arguments.arch, arguments.width, arguments.crop, arguments.scale, arguments.batch, arguments.precision)
    settings = pictures.FolderSettings(arguments.folder, *shape)
    title = f"net {arguments.arch} x {arguments.width:g} on images of {arguments.scale}x{arguments.scale}, {arguments.precision}"
    entries = [
        contest.Entry(name, ("tensorflow",), f"benchmarking.{_MODULES[name]}:SmallImages", settings, _ENVIRONMENTS.get(name, {}))
        for name in ("ours", "keras", "limit")
    ]
    _hold_between(f"{title}, batches of {arguments.batch}", entries, arguments)


def _measure_listing(arguments) -> None:
    print(f"{machine.describe()}\nCSV listing of {arguments.rows:,} images in {pictures.CLASSES} classes", flush=True)
    print(alone.listing_table(arguments.rows))


def _measure_records(arguments) -> None:
    print(f"{machine.describe()}\nopening of {arguments.count:,} TFRecords that are not in memory", flush=True)
    print(records.index_table(arguments.count), flush=True)
    print(f"reading of TFRecords in random order, from memory; {counted(arguments.rounds, 'round')}", flush=True)
    print(records.reading_table(arguments.rounds))


def _measure_weights(arguments) -> None:
    print(f"{machine.describe()}\nweights from files into new models; memory in addition to the idle framework", flush=True)
    print(alone.weights_table(arguments.files, arguments.arch, _PEER_NETS["keras"]))


def _measure_merging(arguments) -> None:
    settings = merging.Settings(arguments.count, arguments.threshold, arguments.rounds)
    title = f"merging {arguments.count} boxes of an image up to the match score {arguments.threshold:g}"
    print(f"{machine.describe()}\n{title}; medians of {arguments.rounds} rounds", flush=True)
    print(merging.table(settings))


def _measure_neighbours(arguments) -> None:
    title = f"precision and recall of two sets of {arguments.count:,} images by {arguments.width} features, k = {arguments.k}"
    print(f"{machine.describe()}\n{title}", flush=True)
    print(neighbours.table(arguments.count, arguments.width, arguments.k))


def _measure_serving(arguments) -> None:
    net = serving.Net(arguments.arch, arguments.width, arguments.precision, arguments.dense, (arguments.scale,))
    views = "whole images" if net.dense else "center crops"
    print(
        f"{machine.describe()}\nclassify, net {net.arch} x {net.width:g}, {net.precision}, {views}, Q = {arguments.scale}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        count = arguments.count
        paths = pictures.find_jpegs(arguments.images, count) if arguments.images else pictures.make_jpegs(folder, count)
        for title, table in serving.tables(net, paths[:count], folder, rounds=arguments.rounds, steps=arguments.steps):
            print(f"{title}; {counted(arguments.rounds, 'round')} of {counted(arguments.steps, 'step')}\n{table}", flush=True)


def _measure_over_images(arguments) -> None:
    _check_crop(arguments)
    with tempfile.TemporaryDirectory() as folder:
        count = arguments.count
        paths = pictures.find_jpegs(arguments.images, count) if arguments.images else pictures.make_jpegs(folder, count)
        shape = (arguments.arch, arguments.crop, arguments.width)
        images = (tuple(paths[:count]), tuple(arguments.scales), arguments.batch)
        settings = over_images.Settings(*shape, *images, arguments.layer, arguments.precision)
        net = f"net {settings.arch} x {settings.width:g}, {settings.crop}x{settings.crop}, {settings.layer}, {settings.precision}"
        scales = ", ".join(map(str, settings.scales))
        print(f"{machine.describe()}\n{net}, Q = {scales}, flips, {count} images", flush=True)
        contestants = [name for name in arguments.contestants if name != "torchvision-loop" or _torchvision_can(settings)]
        print(alone.over_images_table(settings, contestants, with_limit=arguments.limit))


def _torchvision_can(settings: over_images.Settings) -> bool:
    """Returns whether torchvision takes part; prints the reason if not."""
    if settings.arch not in _PEER_NETS["torchvision"] or settings.width != 1:
        print(f"torchvision: no net {settings.arch} x {settings.width:g}", flush=True)
        return False
    if missing := contest.missing(_PACKAGES["torchvision"]):
        print(f"torchvision: {' and '.join(missing)} not installed", flush=True)
        return False
    return True


if __name__ == "__main__":
    entry.run(main)
