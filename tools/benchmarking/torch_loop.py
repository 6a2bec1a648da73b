"""torchvision's nets in a plain loop over images: the fully connected layers as convolutions, as in Sec. 3.2."""

import pathlib
import tempfile

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional

from benchmarking import over_images
from benchmarking.apart import apart
from benchmarking.torch_peer import DEVICE, NETS, autocast, memory_format, normalize

_LAST = {"block5_pool": 0, "fc1": 2, "fc2": 5, over_images.POSTERIORS: 7}
"""By our layer names: how many of torchvision's layers after the feature maps are computed, including ReLU and dropout."""


def torchvision_loop(settings: over_images.Settings) -> dict:
    """Sees the images one by one, each and its mirror image, with torchvision's net and the weights of ours; reads with Pillow."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "net.pth")
        apart(over_images.write_torch, settings, path)
        net = _net(settings, path)

        def row_of(path):
            rows = []
            for scale in settings.scales:
                with open(path, "rb") as file:
                    image = functional.resize(Image.open(file).convert("RGB"), scale)
                view = functional.pil_to_tensor(image)[None].contiguous(memory_format=memory_format(settings.precision))
                rows += [net(each).float().mean(dim=(0, 2, 3)).cpu().numpy() for each in (view, view.flip(3))]
            return np.mean(rows, axis=0)

        with torch.inference_mode(), autocast(settings.precision):
            return over_images.measured(lambda: np.stack([row_of(path) for path in settings.paths]))


def _net(settings: over_images.Settings, path: pathlib.Path):
    """Returns a function from uint8 images, `(1, 3, height, width)`, to the layer's maps, `(1, C, rows, columns)`."""
    model = torchvision.models.get_model(NETS[settings.arch], weights=None)
    model.load_state_dict(torch.load(path, weights_only=True))
    layers, side = [model.features], settings.crop // 32
    for layer in model.classifier[: _LAST[settings.layer]]:
        if isinstance(layer, torch.nn.Linear):
            convolution = torch.nn.Conv2d(layer.in_features // side**2, layer.out_features, side)
            convolution.load_state_dict({"weight": layer.weight.reshape(convolution.weight.shape), "bias": layer.bias})
            layers.append(convolution)
            side = 1
        else:
            layers.append(layer)
    net = torch.nn.Sequential(*layers).eval().to(DEVICE, memory_format=memory_format(settings.precision))
    has_posteriors = settings.layer == over_images.POSTERIORS
    return lambda images: net(normalize(images)).float().softmax(1) if has_posteriors else net(normalize(images))
