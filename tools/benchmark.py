"""Compares our training step, forward pass and pipeline with the peers installed: stock Keras and torchvision.

`python tools/benchmark.py train`, `predict`, `input`; `listing` measures how fast a long listing opens, `weights` how weight
files load, `evaluate` what the protocols of testing cost. Contestants do the same work on the same images, each in its own
process, in alternating rounds; images per second are medians over the rounds.
"""

import argparse
import concurrent.futures
import importlib.util
import multiprocessing
import pathlib
import sys
import tempfile

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # this checkout is measured, whatever is installed

from benchmarking import contest, evaluation, listing, loading, machine, pictures

from keras_vgg import cli, configs

IMAGES = 1000
_WARM_UP_IMAGES, _WARM_UP_BATCHES = 256, 8  # at the least, so that no buffer still holds what was made before the clock starts
_PEER_NETS = {"keras": ("D", "E"), "torchvision": ("A", "B", "D", "E")}
_PACKAGES = {"ours": ("tensorflow",), "keras": ("tensorflow",), "torchvision": ("torch", "torchvision")}
_TESTS = ("dense", "multi-crop", "loop")
_MODULES = {"ours": "ours", "keras": "keras_peer", "torchvision": "torch_peer"}


def main(argv: list[str]) -> None:
    """Parses `argv`, measures and prints."""
    parser = cli.Parser(prog="python tools/benchmark.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help, steps in (("train", "weight updates", 2), ("predict", "forward passes", 3)):
        command = commands.add_parser(name, help=help, description=f"Images per second of {help}, float32.")
        command.add_argument("--arch", choices=tuple(configs.CONFIGS), default="D", help="net of Table 1 (default: %(default)s)")
        command.add_argument(
            "--jit", action=argparse.BooleanOptionalAction, help="compile ours with XLA (default: as keras_vgg.fit)"
        )
        _add_contest_flags(command, batch=8, steps=steps)
    command = commands.add_parser("input", help="input pipelines", description="Images per second of input pipelines.")
    command.add_argument("--images", nargs="+", metavar="PATH", help="JPEG files or folders with some (default: makes its own)")
    command.add_argument(
        "--jitter", nargs=2, type=_positive, metavar=("SMIN", "SMAX"), default=(256, 512), help="scale jitter (default: 256 512)"
    )
    _add_contest_flags(command, batch=32, steps=32)
    command = commands.add_parser("listing", help="opening of a long CSV file", description="Time and memory of a long listing.")
    command.add_argument("--rows", type=_positive, default=1281167, help="images listed (default: ImageNet's, %(default)s)")
    command = commands.add_parser("weights", help="loading of weight files", description="Time and memory of loading weights.")
    command.add_argument("--files", nargs="+", metavar="FILE", help="weight files (default: makes one of each kind)")
    command.add_argument("--arch", choices=("A", "B", "D", "E"), default="D", help="net of the files made (default: %(default)s)")
    command = commands.add_parser(
        "evaluate", help="testing protocols", description="Time and memory of testing protocols, flips on."
    )
    command.add_argument("--images", nargs="+", metavar="PATH", help="JPEG files or folders with some (default: makes its own)")
    command.add_argument("--count", type=_positive, default=20, help="images tested (default: %(default)s)")
    command.add_argument("--scales", nargs="+", type=_positive, default=(256, 384, 512), metavar="Q", help="(default: 256 384 512)")
    command.add_argument("--contestants", nargs="+", choices=_TESTS, default=_TESTS, help="(default: all)")
    command.add_argument("--arch", choices=tuple(configs.CONFIGS), default="D", help="net of Table 1 (default: %(default)s)")
    command.add_argument(
        "--crop", type=_positive, default=configs.TRAINING_SIZE, help="side of the net's input (default: %(default)s)"
    )
    command.add_argument("--width", type=float, default=1.0, help="factor on all filters (default: %(default)s)")
    command.add_argument("--batch", type=_positive, default=32, help="as for keras_vgg.evaluate (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.command == "listing":
        _measure_listing(arguments.rows)
        return
    if arguments.command == "weights":
        _measure_weights(arguments.files, arguments.arch)
        return
    if arguments.command == "evaluate":
        _measure_evaluation(arguments)
        return
    if arguments.crop < 32:
        parser.error(f"argument --crop: must be at least 32, five poolings halve it (received {arguments.crop})")
    if arguments.command == "input":
        _compare_pipelines(parser, arguments)
    else:
        _compare_nets(arguments)


def _add_contest_flags(parser, *, batch: int, steps: int) -> None:
    numbers = {
        "crop": (configs.TRAINING_SIZE, "side of the images in pixels"),
        "batch": (batch, "images per step"),
        "steps": (steps, "steps of a contestant in a round"),
        "rounds": (5, "rounds"),
    }
    for name, (default, help) in numbers.items():
        parser.add_argument(f"--{name}", type=_positive, default=default, help=f"{help} (default: %(default)s)")
    peers = tuple(_PEER_NETS)
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, help="whom to compare with (default: all)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_positive.__name__ = "positive number"  # argparse puts it into its message


def _compare_nets(arguments) -> None:
    settings = pictures.NetSettings(arguments.arch, arguments.crop, arguments.batch, arguments.steps, arguments.jit)
    peers, kind = [], {"train": "Training", "predict": "Forward"}[arguments.command]
    for name in arguments.peers:
        if arguments.arch in _PEER_NETS[name]:
            peers.append(name)
        else:
            print(f"{name}: has no net {arguments.arch}")
    work = "weight updates" if arguments.command == "train" else "forward passes"
    title = f"{work}, net {arguments.arch}, {arguments.crop}x{arguments.crop}, float32, batches of {arguments.batch}"
    _hold(title, kind, settings, peers, arguments)


def _compare_pipelines(parser, arguments) -> None:
    smallest, largest = arguments.jitter
    if not arguments.crop <= smallest <= largest:
        parser.error(f"argument --jitter: must be SMIN SMAX with crop {arguments.crop} <= SMIN <= SMAX")
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures.find_jpegs(arguments.images, IMAGES) if arguments.images else pictures.make_jpegs(folder, IMAGES)
        size = sum(pathlib.Path(path).stat().st_size for path in paths) / len(paths)
        warm_up = max(_WARM_UP_BATCHES, -(-_WARM_UP_IMAGES // arguments.batch))
        settings = pictures.ReadingSettings(paths, arguments.crop, (smallest, largest), arguments.batch, warm_up)
        source = f"{len(set(paths))} {'given' if arguments.images else 'synthetic'} JPEGs of {size / 1e3:.0f} KB"
        view = f"S in [{smallest}; {largest}], {arguments.crop}x{arguments.crop} crops, flips"
        title = f"input pipelines, {source}, {view}, batches of {arguments.batch}"
        _hold(title, "Reading", settings, arguments.peers, arguments)


def _hold(title: str, kind: str, settings, peers: list[str], arguments) -> None:
    def entry(name):
        return contest.Entry(name, _PACKAGES[name], f"benchmarking.{_MODULES[name]}:{kind}", settings)

    print(f"{machine.describe()}\n{title}; {arguments.rounds} rounds of {arguments.steps} steps", flush=True)
    entries = [entry("ours")]
    for peer in map(entry, peers):
        if peer.missing:
            print(f"{peer.name}: {' and '.join(peer.missing)} not installed", flush=True)
        else:
            entries.append(peer)
    print(contest.table(contest.hold(entries, rounds=arguments.rounds, steps=arguments.steps)))


def _apart(function, *arguments):
    """Calls a function in a process of its own, so that time and peak memory are its alone."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as apart:
        return apart.submit(function, *arguments).result()


def _measure_listing(rows: int) -> None:
    print(f"{machine.describe()}\nCSV listing of {rows:,} images in {pictures.CLASSES} classes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measured = _apart(listing.measure, listing.write_csv(folder, rows))
    measured["peak GB"] = measured.pop("peak bytes") / 1e9
    print(pd.DataFrame([measured]).to_string(index=False, float_format="%.2f"))


def _measure_weights(files: list[str] | None, arch: str) -> None:
    print(f"{machine.describe()}\nweights from files into new models; memory beyond what the framework takes idle", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in files or (_apart(loading.write, folder, arch, kind) for kind in loading.KINDS):
            contestants = [loading.ours]
            if path.endswith(".h5") and arch in _PEER_NETS["keras"]:
                contestants.append(loading.keras)
            if path.endswith(".pth") and arch == "D" and importlib.util.find_spec("torchvision"):
                contestants.append(loading.torchvision)
            size = pathlib.Path(path).stat().st_size
            for contestant in contestants:
                measured = _apart(contestant, path)
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
    print(pd.DataFrame(rows).to_string(index=False))


def _measure_evaluation(arguments) -> None:
    with tempfile.TemporaryDirectory() as folder:
        count = arguments.count
        paths = pictures.find_jpegs(arguments.images, count) if arguments.images else pictures.make_jpegs(folder, count)
        settings = evaluation.Settings(
            arguments.arch, arguments.crop, arguments.width, tuple(paths[:count]), tuple(arguments.scales), arguments.batch
        )
        scales = ", ".join(map(str, settings.scales))
        print(f"{machine.describe()}\nnet {settings.arch} x {settings.width:g}, {settings.crop}x{settings.crop}, Q = {scales}, "
              f"flips, {count} images", flush=True)  # fmt: skip
        measured = {}
        for name in arguments.contestants:
            measured[name] = _apart(evaluation.loop, settings) if name == "loop" else _apart(evaluation.ours, settings, name)
    first = next(iter(measured.values()))
    rows = [
        {
            "contestant": "loop of model.predict, dense" if name == "loop" else f"ours, {name}",
            "seconds": f"{result['seconds']:.1f}",
            "images/s": f"{count / result['seconds']:.3g}",
            "time / first": f"{result['seconds'] / first['seconds']:.2f}",
            "idle GB": f"{result['idle bytes'] / 1e9:.2f}",
            "peak GB": f"{result['peak bytes'] / 1e9:.2f}",
            "largest difference": f"{abs(result['posteriors'] / first['posteriors'] - 1).max():.1e}",  # a share of the posterior
        }
        for name, result in measured.items()
    ]
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    cli.run(main)
