"""LPIPS and DISTS as their authors' packages compute them, by a random net D, a random calibration and pictures that NumPy draws.

Here is no line of Keras: torchvision crashes where TensorFlow is loaded. `python tests/reference_distances.py` needs torch,
torchvision, `lpips` and `DISTS_pytorch`, and prints what stands in `RECORDED`; with a name and two paths it reads pairs of images
from the one and writes their distances to the other, which is how `by_authors` runs it.
"""

import functools
import importlib.util
import itertools
import subprocess
import sys

import numpy as np

CHANNELS = (64, 128, 256, 512, 512)
FILTERS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
PACKAGES = {"lpips": ("torch", "torchvision", "lpips"), "dists": ("torch", "torchvision", "DISTS_pytorch")}
SIZES = [(64, 64), (48, 80), (37, 53), (65, 33)]
KINDS = ["noise", "shift", "other"]

RECORDED = {
    "lpips 0.1": [
        0.2221416,
        0.621645,
        0.9746441,
        0.2259306,
        0.495596,
        0.9826163,
        0.2093395,
        0.3723668,
        0.8681296,
        0.1712665,
        0.5127083,
        1.010896,
    ],
    "lpips 0.0": [
        0.2036423,
        0.5792864,
        0.8815661,
        0.1985945,
        0.4456297,
        0.9158926,
        0.2034154,
        0.3486735,
        0.8279299,
        0.1563444,
        0.4548189,
        0.887296,
    ],
    "dists": [
        0.04820508,
        0.1224829,
        0.2401218,
        0.04727149,
        0.09745407,
        0.2491432,
        0.04724026,
        0.07826984,
        0.2201071,
        0.03614616,
        0.1033057,
        0.2376515,
    ],
}
"""For each distance those of `pairs()`; by lpips 0.1.4, DISTS_pytorch 0.1, torch 2.14.1 and torchvision 0.29.1 on a CPU."""


@functools.cache
def trunk_weights():
    """Returns kernels and biases of net D before its top: He's initialisation, values of one size from layer to layer."""
    random = np.random.RandomState(0)
    shapes = [(3, 3, before, after) for before, after in itertools.pairwise((3, *FILTERS))]
    return [
        (
            (random.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5).astype(np.float32),
            (0.1 * random.standard_normal(shape[-1])).astype(np.float32),
        )
        for shape in shapes
    ]


@functools.cache
def calibration():
    """Returns arrays as the authors' files have them: of LPIPS and of DISTS."""
    random = np.random.RandomState(1)
    lpips = {f"lin{place}.model.1.weight": random.uniform(0, 1, (1, size, 1, 1)) for place, size in enumerate(CHANNELS)}
    dists = {name: random.uniform(0, 0.2, (1, 3 + sum(CHANNELS), 1, 1)) for name in ("alpha", "beta")}
    return tuple({name: values.astype(np.float32) for name, values in arrays.items()} for arrays in (lpips, dists))


def picture(height, width, seed):
    """Returns a smooth picture with some noise, `(height, width, 3)` float32 in [0, 1]."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.zeros((height, width, 3))
    for _ in range(12):
        (fy, fx), phase = random.uniform(-0.4, 0.4, 2), random.uniform(0, 2 * np.pi, 3)
        waves += random.uniform(0.3, 1) * np.cos((fy * y + fx * x)[..., None] + phase)
    return np.clip(0.5 + 0.12 * waves + 0.02 * random.standard_normal((height, width, 3)), 0, 1).astype(np.float32)


def pairs():
    """Yields pairs of pictures, `(1, height, width, 3)`, for each of `SIZES` and `KINDS`."""
    for seed, ((height, width), kind) in enumerate(itertools.product(SIZES, KINDS)):
        image, random = picture(height, width, seed), np.random.RandomState(100 + seed)
        other = {
            "noise": np.clip(image + 0.1 * random.standard_normal(image.shape), 0, 1).astype(np.float32),
            "shift": np.roll(image, (2, 3), axis=(0, 1)),
            "other": picture(height, width, 50 + seed),
        }[kind]
        yield image[None], other[None]


def by_authors(name, images, others, folder):
    """Returns the authors' distances of two lists of images, `(height, width, 3)` float32 in [0, 1].

    They are called `lpips 0.1` or `lpips 0.0`, with ` spatial` behind it for maps, or `dists`.
    """
    arrays = {f"images{place}": image for place, image in enumerate(images)}
    arrays |= {f"others{place}": image for place, image in enumerate(others)}
    np.savez(folder / "pairs.npz", **arrays)
    command = [sys.executable, __file__, name, str(folder / "pairs.npz"), str(folder / "distances.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "distances.npz") as found:
        return [found[f"arr_{place}"] for place in range(len(images))]


def are_installed(name):
    """Whether the packages are there that `by_authors` needs."""
    return all(map(importlib.util.find_spec, PACKAGES[name.split()[0]]))


def _authors_net(name):
    """Returns the function of two images that `by_authors` runs."""
    import torch

    net = _dists() if name == "dists" else _lpips(name.split()[1], "spatial" in name)

    def distance(image, other):
        first, second = (torch.from_numpy(np.ascontiguousarray(each.transpose(2, 0, 1)[None])) for each in (image, other))
        with torch.no_grad():
            found = net(first, second) if name == "dists" else net(first, second, normalize=True)
        return np.squeeze(found.numpy())

    return distance


def _lpips(version, spatial):
    import lpips
    import torch

    net = lpips.LPIPS(net="vgg", version=version, spatial=spatial, pretrained=False, pnet_rand=True, verbose=False)
    _fill([layer for part in (net.net.slice1, net.net.slice2, net.net.slice3, net.net.slice4, net.net.slice5) for layer in part])
    for place, linear in enumerate(net.lins):
        linear.model[1].weight.data = torch.from_numpy(calibration()[0][f"lin{place}.model.1.weight"])
    return net.eval()


def _dists():
    import torch
    import torchvision
    from DISTS_pytorch import DISTS_pt

    public, torchvision.models.vgg16 = torchvision.models.vgg16, lambda pretrained: public(weights=None)
    net = DISTS_pt.DISTS(load_weights=False)
    _fill([layer for part in (net.stage1, net.stage2, net.stage3, net.stage4, net.stage5) for layer in part])
    for name, values in calibration()[1].items():
        getattr(net, name).data = torch.from_numpy(values)
    return net.eval()


def _fill(layers):
    import torch

    theirs = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    for layer, (kernel, bias) in zip(theirs, trunk_weights(), strict=True):
        layer.weight.data, layer.bias.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()), torch.from_numpy(bias)


def _main(name, source, target):
    distance = _authors_net(name)
    with np.load(source) as given:
        number = len(given.files) // 2
        np.savez(target, *(distance(given[f"images{place}"], given[f"others{place}"]) for place in range(number)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _main(*sys.argv[1:])
    else:
        for each in ("lpips 0.1", "lpips 0.0", "dists"):
            authors = _authors_net(each)
            print(f'    "{each}": {[float(f"{authors(image[0], other[0]):.7g}") for image, other in pairs()]},')
