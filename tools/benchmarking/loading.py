"""Measures the time and memory to load weight files, each in a process of its own, compared with Keras and PyTorch."""

import pathlib
import time

from benchmarking.contest import peak_bytes
from keras_vgg.support import entry

KINDS = (".keras", ".weights.h5", ".h5", ".pth", ".safetensors")


def write(folder: str, arch: str, suffix: str) -> str:
    """Writes a whole net `arch` with random weights, 224x224 and 1,000 classes, as a file of this kind, and returns its path."""
    entry.import_tensorflow()
    from keras_vgg.models import build_vgg
    from keras_vgg.weights import saving, weight_file

    first, path = pathlib.Path(folder, "net.weights.h5"), pathlib.Path(folder, f"net{suffix}")
    if not first.exists():
        build_vgg(arch).save_weights(first)
    if path != first:
        saving.save_weights(weight_file.open_weights(first), path)
    return str(path)


def arch_of(path: str) -> str:
    """Returns the net in a weight file."""
    entry.import_tensorflow()
    from keras_vgg.weights import weight_file

    return weight_file.open_weights(path).arch


def ours(path: str) -> dict[str, float]:
    """Builds the net of the file with its weights in this process, which must be a fresh one."""
    entry.import_tensorflow()
    import tensorflow as tf

    from keras_vgg.weights import loading

    tf.zeros(1)  # excludes the cost of the first operation
    return _measured(lambda: loading.load_net(path).count_params())


def keras(path: str) -> dict[str, float]:
    """Builds Keras' own VGG16 or VGG19 with the weights of a Keras file in this process."""
    entry.import_tensorflow()
    import keras
    import tensorflow as tf

    from keras_vgg.weights import weight_file

    tf.zeros(1)
    build = {"D": keras.applications.VGG16, "E": keras.applications.VGG19}[weight_file.open_weights(path).arch]
    return _measured(lambda: build(weights=path).count_params())


def torchvision(path: str) -> dict[str, float]:
    """Builds torchvision's net with the weights of a state dict in this process."""
    import torch
    import torchvision.models

    torch.zeros(1)

    def load():
        model = torchvision.models.vgg16(weights=None, init_weights=False)
        model.load_state_dict(torch.load(path, weights_only=True))
        return sum(parameter.numel() for parameter in model.parameters())

    return _measured(load)


def _measured(load) -> dict[str, float]:
    before, began = peak_bytes(), time.perf_counter()
    parameters = load()
    return {"seconds": time.perf_counter() - began, "bytes": peak_bytes() - before, "parameters": parameters}
