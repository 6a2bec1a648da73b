"""Classifies images with a served model: `python -m keras_vgg.client --url HOST:8500 photo.jpg` (or `--url http://HOST:8501`).

The model is exported by `keras_vgg` and served by TensorFlow Serving. Results go to standard output in the order of the images.
Messages (failures, an unavailable server, timings) go to standard error, so that a file or a pipe receives only results.
"""

import contextlib
import itertools
import json
import pathlib
import sys

from keras_vgg.support import cli, entry, extras, files
from keras_vgg.support.counts import counted
from keras_vgg.support.image_files import find_images, printable

_BAR = 30
_LONGEST_TIMEOUT = 1_000_000  # sockets accept at most a few hundred years


def main(argv: list[str]) -> int | None:
    """Parses `argv`, prints the served model's predictions for the images, and returns the exit code."""
    parser = cli.Parser(prog="python -m keras_vgg.client", description=__doc__.split("\n")[0])
    parser.add_argument("images", type=cli.path, nargs="+", metavar="IMAGE", help="image files, globs or folders")
    parser.add_argument(
        "--url",
        required=True,
        help="server address: HOST:8500 for gRPC (grpcs://HOST:PORT with TLS), http://HOST:8501 or https:// for REST",
    )
    parser.add_argument(
        "--model-name", dest="name", default="vgg", metavar="NAME", help="model name on the server (default: %(default)s)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model-version", type=int, metavar="N", help="model version (default: the newest at the start)")
    which.add_argument("--label", help="version label, such as canary, if the server has labels")
    parser.add_argument(
        "--images-per-request",
        dest="batch",
        type=int,
        default=8,
        metavar="N",
        help="images per request (default: %(default)s)",
    )
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help="concurrent requests (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="request timeout (default: %(default)s)")
    parser.add_argument(
        "--retry-for",
        type=float,
        default=120,
        metavar="SECONDS",
        help="how long to retry if the server becomes unavailable after the start (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="send all images N times, print results once (default: %(default)s)"
    )
    parser.add_argument("--localise", action="store_true", help="print class, score and box (models exported with --localiser)")
    parser.also_accept("--model-name", "--name")
    parser.also_accept("--images-per-request", "--batch")  # its former name means something else in other commands
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one line of JSON per image")
    output.add_argument(
        "--features", type=cli.path, metavar="FILE", help="write the images' features instead (.npz with paths and features)"
    )
    arguments = parser.parse_args(argv)
    for flag, value in (
        ("--images-per-request", arguments.batch),
        ("--concurrency", arguments.concurrency),
        ("--repeat", arguments.repeat),
    ):
        if value < 1:
            parser.error(f"argument {flag}: must be at least 1 (received {value})")
    if not 0 < arguments.timeout <= _LONGEST_TIMEOUT:
        parser.error(f"argument --timeout: must be positive, up to {_LONGEST_TIMEOUT:,} (received {arguments.timeout:g})")
    if not arguments.retry_for >= 0:
        parser.error(f"argument --retry-for: must not be negative (received {arguments.retry_for:g})")
    if arguments.features and arguments.localise:
        parser.error(f"argument --localise: cannot be combined with --features (received {arguments.features})")
    if arguments.features and not arguments.features.endswith(".npz"):
        parser.error(f"argument --features: must end in .npz (received {arguments.features})")
    if arguments.features:
        files.check_file(pathlib.Path(arguments.features))
    extras.require("serve")
    paths = find_images(arguments.images)
    with _open(arguments) as (session, version, features):
        return _run(session, version, paths, features, arguments)


@contextlib.contextmanager
def _open(arguments):
    """Yields a session with an available model, its version, and the file for features or `None`."""
    if not arguments.url.startswith(("http://", "https://")):
        entry.import_tensorflow(with_keras=False)  # without its log messages
    from keras_vgg.remote.connection import connect, look
    from keras_vgg.remote.features_file import FeaturesFile
    from keras_vgg.remote.protocol import Model
    from keras_vgg.remote.session import Session

    signature = "features" if arguments.features else "localise" if arguments.localise else "classify"
    model = Model(arguments.name, arguments.model_version, arguments.label)
    transport = connect(arguments.url, model, timeout=arguments.timeout, concurrency=arguments.concurrency)
    session = Session(
        transport,
        signature=signature,
        batch=arguments.batch,
        concurrency=arguments.concurrency,
        retry_for=arguments.retry_for,
        say=_say,
    )
    with session:
        served = look(transport, arguments.url, model, signature)
        session.pin(served)
        _say(f"{arguments.url} serves {model.name} version {served.version}: {', '.join(sorted(served.outputs))}")
        features = FeaturesFile(arguments.features, model.name, served.version) if arguments.features else None
        session.tally.start()
        yield session, served.version, features


def _run(session, version, paths, features, arguments) -> int | None:
    failed = set()
    try:
        for number, answer in enumerate(session.ask(itertools.chain.from_iterable(itertools.repeat(paths, arguments.repeat)))):
            first = number < len(paths)
            if answer.error:
                if answer.path not in failed:
                    _say(f"{printable(answer.path)}: {answer.error}")
                failed.add(answer.path)
            if first and features is None:
                _print(answer, version, arguments)
            elif first and not answer.error:
                features.add(answer)
        if features is not None:
            count, width = features.write()
            told = f"features of {counted(count, 'image')}, {width} each: {arguments.features}"
            print(told if count else "no features, nothing written")
    finally:
        _say(str(session.tally.report()))
    return cli.USER_ERROR if failed else None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(answer, version, arguments) -> None:
    if arguments.json:
        told = {"image": printable(answer.path), "model": arguments.name, "version": version}
        told |= {"net sha256": answer.net_sha256 or None, "image sha256": answer.image_sha256 or None}
        if answer.error:
            told["error"] = answer.error
        else:
            if arguments.localise:
                told["boxes"] = [
                    {"class": each.name, "label": each.label, "score": each.score, "box": each.box} for each in answer.located
                ]
            else:
                told["top"] = [{"class": each.name, "label": each.label, "posterior": each.score} for each in answer.top]
            told["milliseconds"] = round(1000 * answer.seconds, 3)
        print(json.dumps(told, allow_nan=False), flush=True)
    elif not answer.error:
        lines = [printable(answer.path)]
        for each in answer.top:
            bar = "█" * round(_BAR * each.score)
            lines.append(f"  {100 * each.score:5.1f}%  {bar:{_BAR}}  {each.name or f'class {each.label}'}")
        if answer.size:
            lines.append(f"  boxes in pixels of {answer.size[0]}x{answer.size[1]}: x_min y_min x_max y_max")
        for each in answer.located:
            edges = " ".join(f"{round(edge):5}" for edge in each.box)
            lines.append(f"  {100 * each.score:5.1f}%  {edges}  {each.name or f'class {each.label}'}")
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    entry.run(main)
