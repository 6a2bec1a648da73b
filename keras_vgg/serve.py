"""Serves an exported net without Docker, for local testing: `python -m keras_vgg.serve --model models/vgg`.

Implements the REST and gRPC routes of TensorFlow Serving on this machine, for exports of `python -m keras_vgg.export` and other
SavedModels. It serves the newest version and loads a newer one when it appears. There is no batching and no authentication:
in production, use TensorFlow Serving, which serves the same folder.
"""

import argparse
import re
import signal
import sys
import threading

from keras_vgg.errors import InputError
from keras_vgg.local_serving.ports import check_port
from keras_vgg.support import cli, entry, extras, paths
from keras_vgg.support.saved_model_folders import versions_in

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EVERYBODY = ("0.0.0.0", "::", "")


def main(argv: list[str]) -> None:
    """Parses `argv` and serves until told to stop."""
    parser = cli.Parser(prog="python -m keras_vgg.serve", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model",
        type=cli.path,
        required=True,
        metavar="DIR",
        help="folder of numbered versions, such as models/vgg, or a SavedModel",
    )
    parser.add_argument("--model-name", default="vgg", metavar="NAME", help="model name (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8500, help="gRPC port; 0 disables gRPC (default: %(default)s)")
    parser.add_argument(
        "--rest-port",
        type=_port,
        default=8501,
        metavar="PORT",
        help="REST port; 0 disables REST (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 accepts requests from other machines (default: %(default)s)",
    )
    parser.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="label for a version, which is then served alongside the newest; repeatable",
    )
    parser.add_argument(
        "--poll-seconds",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="interval between checks for new versions; 0 disables them (default: %(default)s)",
    )
    for flag, of_tensorflow_serving in (
        ("--model", ("--model-base-path", "--model_base_path")),
        ("--model-name", ("--model_name",)),
        ("--rest-port", ("--rest-api-port", "--rest_api_port")),
        ("--poll-seconds", ("--file_system_poll_wait_seconds",)),
    ):
        parser.also_accept(flag, *of_tensorflow_serving)
    arguments = parser.parse_args(argv)
    if not re.fullmatch(r"[^/:\s]+", arguments.model_name):
        parser.error(f"argument --model-name: must be a name without /, : or spaces (received {arguments.model_name!r})")
    if not 0 <= arguments.poll_seconds < threading.TIMEOUT_MAX:
        parser.error(f"argument --poll-seconds: must be a number of seconds, at least 0 (received {arguments.poll_seconds:g})")
    if arguments.port == arguments.rest_port:
        told = "disables both gRPC and REST" if not arguments.port else "is the same for gRPC and REST"
        parser.error(f"argument --port: {told} (received {arguments.port} and --rest-port {arguments.rest_port})")
    extras.require("serve")
    _check_folder(arguments.model)
    for flag, port in (("--port", arguments.port), ("--rest-port", arguments.rest_port)):
        if port:
            check_port(arguments.host, port, flag=flag)
    entry.import_tensorflow(with_keras=False)
    from keras_vgg.local_serving.server import serving
    from keras_vgg.local_serving.versions import Versions

    labels = dict(arguments.label)
    versions = Versions(arguments.model, arguments.model_name, labels=labels, say=_say)
    with serving(
        versions,
        host=arguments.host,
        port=arguments.port or None,
        rest_port=arguments.rest_port or None,
        poll_seconds=arguments.poll_seconds or None,
    ) as addresses:
        over = _told_to_end()
        where = [f"{way} at {at}" for way, at in (("gRPC", addresses.grpc), ("REST", addresses.rest)) if at]
        numbers = ", ".join(map(str, versions.numbers))
        _say(f"{arguments.model_name} version {numbers}: {', '.join(versions.newest.names)}")
        _say(f"{' and '.join(where)}. For local testing, not for production. Press Ctrl-C to stop.")
        if arguments.host in _EVERYBODY:
            _say("Anyone who can reach this machine can send requests; nothing is encrypted.")
        over.wait()
        _say("stopping once the requests in progress are answered")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port number from 0 to 65535 (received {text})")
    return int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not re.fullmatch(r"[^/:\s]+", name) or not version.isascii() or not version.isdigit():
        raise argparse.ArgumentTypeError(f"must be a label and a version, such as canary=2 (received {text})")
    return name, int(version)


def _check_folder(folder: str) -> None:
    """Checks the folder before TensorFlow is imported."""
    path = paths.path_of(folder)
    if versions_in(path):
        return
    export = f"python -m keras_vgg.export --model {path} --out models/vgg"
    if path.is_file() or (path / "best.keras").exists():
        what = f"which must be exported first: {export}"
    elif not path.is_dir():
        what = "which does not exist"
    elif models := [each for each in sorted(path.iterdir()) if versions_in(each)]:
        what = f"a folder of models; pass {models[0]}"
    else:
        what = f"which has no versions; run python -m keras_vgg.export --model … --out {path}"
    raise InputError(
        f"`--model` must be a folder of numbered versions (models/vgg with models/vgg/1/saved_model.pb) or a SavedModel. "
        f"Received: {folder}, {what}."
    )


def _told_to_end() -> threading.Event:
    """Returns an event that is set by Ctrl-C or a termination signal; a second one ends the process at once."""
    over = threading.Event()

    def end(number, frame):
        signal.signal(number, signal.SIG_DFL)
        over.set()

    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, end)
    return over


if __name__ == "__main__":
    entry.run(main, at_once=True)
