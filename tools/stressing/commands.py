"""The commands under test as data: tiny nets, tiny data, every way of writing that the package has."""

import dataclasses
import hashlib
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import numpy as np
from PIL import Image

_TINY = "--width 0.02 --crop 32 --jitter 32 40 --no-jit --batch-size 20 --learning-rate 0.002 --checkpoint-minutes 0.0001"
_FIT = f"{_TINY} --epochs 2 --limit-images 40"
_NET = "{inputs}/net"
_ARGUMENTS = {
    "fit": ("fit", f"{_FIT} --workdir run"),
    "evaluate": ("evaluate", f"--model {_NET} --dataset digits --limit-images 40 --protocol dense --out tested"),
    "extract": ("extract", f"--model {_NET} --dataset digits --limit-images 20 --out features.npz"),
    "transfer_eval": (
        "transfer_eval",
        f"--model {_NET} --dataset folder:{{inputs}}/images --train-images 4 --splits 2 --costs 1 --out transfer",
    ),
    "export": ("export", f"--model {_NET} --out served"),
    "convert-keras": ("convert", f"{_NET} out.keras"),
    "convert-weights-h5": ("convert", f"{_NET} out.weights.h5"),
    "convert-h5": ("convert", f"{_NET} out.h5"),
    "convert-pth": ("convert", f"{_NET} out.pth"),
    "convert-safetensors": ("convert", f"{_NET} out.safetensors"),
    "download": ("download", "{url} {hash}"),
    "style": (
        "style",
        f"--content {{inputs}}/images/0/0.png --style {{inputs}}/images/1/1.png --size 64 --steps 2 --weights {_NET} "
        "--content-layers block3_conv2 --out out.png",
    ),
    "heatmap": ("predict", f"{{inputs}}/images/0/0.png --model {_NET} --heatmap out.png"),
}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command and what it is run on.

    Attributes:
        name: out of `names.COMMANDS`.
        main: its function.
        argv: its arguments, for a run in an empty folder.
    """

    name: str
    main: Callable
    argv: list[str]

    def new_folder(self, work: pathlib.Path) -> pathlib.Path:
        """Returns `work` as it is before the command: what it will replace is there in an older form."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if self.argv[-1].startswith("out."):
            (work / self.argv[-1]).write_bytes(b"what stood before\n" * 100)
        return work


def download(argv: list[str]) -> None:
    """Fetches public weights as the package does, into a folder of models below the current one."""
    from keras_vgg.weights.catalogue import File
    from keras_vgg.weights.download import fetch

    os.environ["KERAS_HOME"] = os.path.abspath("home")
    url, hash = argv
    fetch(File(url, hash))


def make(names, inputs: pathlib.Path, url: str) -> list[Command]:
    """Returns the commands of these names.

    Args:
        names: out of `names.COMMANDS`.
        inputs: what `write_inputs` made.
        url: where a server offers `inputs`.
    """
    values = {"inputs": str(inputs), "url": f"{url}/served.bin"}
    values["hash"] = "sha256:" + hashlib.sha256((inputs / "served.bin").read_bytes()).hexdigest()
    made = []
    for name in names:
        module, text = _ARGUMENTS[name]
        main = download if module == "download" else importlib.import_module(f"keras_vgg.{module}").main
        made.append(Command(name, main, text.format(**values).split()))
    return made


def write_inputs(folder: pathlib.Path, run: Callable) -> None:
    """Makes a trained net, images and a file to fetch in `folder`; `run(main, argv)` runs a command in it."""
    from keras_vgg import fit

    if (folder / "served.bin").exists():
        return
    generator = np.random.default_rng(0)
    for label in range(3):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            pixels = generator.integers(0, 60 * (label + 1), (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / str(label) / f"{number}.png")
    ended = run(fit.main, f"{_FIT} --epochs 1 --workdir net".split())
    if ended.code:
        raise RuntimeError(f"the net for the trials could not be trained ({ended.code}): {ended.errors}{ended.output}")
    (folder / "served.bin").write_bytes(generator.bytes(300_000))


def serve(folder: pathlib.Path) -> tuple[subprocess.Popen, str]:
    """Starts a server of `folder` on the loopback interface, in a process of its own; returns it and its address."""
    program = (
        "import functools, http.server, sys\n"
        "handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout  # a pipe, as was asked for
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    for _ in range(50):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    return process, url
