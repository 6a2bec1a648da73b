"""torchvision's VGG nets in plain NumPy, from a state dict: an independent way from weights to logits.

Written from what torchvision documents of its modules, without a line of `keras_vgg`: `features` and `classifier` are
sequences that number their modules, the feature map is flattened as C x H x W, and images are (B, 3, H, W).
"""

import importlib.util
import subprocess
import sys
import textwrap

import numpy as np
import pytest

CONFIGURATIONS = {
    "A": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "B": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "C": "64 64 M 128 128 M 256 256 256' M 512 512 512' M 512 512 512' M",
    "D": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "E": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
"""torchvision's `cfgs`: filters of a convolution, M for max-pooling. It has no C; the stroke marks a kernel of 1."""

BATCH_NORM_EPSILON = 1e-5


def modules(config: str, batch_norm: bool):
    """Yields `(number, module, filters, kernel)` of all modules in `features`; filters and kernel of convolutions alone."""
    number = 0
    for letter in CONFIGURATIONS[config].split():
        if letter == "M":
            yield number, "pool", None, None
            number += 1
            continue
        yield number, "conv", int(letter.strip("'")), 1 if letter.endswith("'") else 3
        if batch_norm:
            yield number + 1, "bn", int(letter.strip("'")), None
        yield number + 1 + batch_norm, "relu", None, None
        number += 2 + batch_norm


def random_state_dict(config: str, batch_norm: bool = False, *, width=0.05, classes=7, spatial=(2, 2), channels=3, seed=0):
    """Returns a narrow net's state dict whose outputs are neither tiny nor alike, its statistics as after training."""
    rng = np.random.default_rng(seed)
    state, inputs = {}, channels

    def add(name, shape):
        fan_in = np.prod(shape[1:])
        state[f"{name}.weight"] = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)

    for number, module, filters, kernel in modules(config, batch_norm):
        if module == "conv":
            outputs = round(filters * width)
            add(f"features.{number}", (outputs, inputs, kernel, kernel))
            inputs = outputs
        elif module == "bn":
            ranges = {"weight": (0.7, 1.5), "bias": (-0.3, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.3, 2)}
            for name, (low, high) in ranges.items():
                state[f"features.{number}.{name}"] = rng.uniform(low, high, inputs).astype(np.float32)
            state[f"features.{number}.num_batches_tracked"] = np.array(9, np.int64)
    units = round(4096 * width)
    add("classifier.0", (units, inputs * spatial[0] * spatial[1]))
    add("classifier.3", (units, units))
    add("classifier.6", (classes, units))
    return state


def caffe_blobs(state, config: str) -> dict[str, list[np.ndarray]]:
    """Returns the same arrays as the layers of the authors' Caffe models, whose layout is torch's: `conv1_1` … `fc8`."""
    places, block, conv = {}, 1, 0
    for number, module, _, _ in modules(config, False):
        if module == "pool":
            block, conv = block + 1, 0
        elif module == "conv":
            conv += 1
            places[f"conv{block}_{conv}"] = f"features.{number}"
    places |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    return {layer: [state[f"{place}.weight"], state[f"{place}.bias"]] for layer, place in places.items()}


def timm_state_dict(state, spatial=(2, 2)) -> dict[str, np.ndarray]:
    """Returns the same arrays under timm's names, its FC layers before the last as convolutions."""
    renamed = {name: array for name, array in state.items() if name.startswith("features")}
    for number, name, kernel in ((0, "pre_logits.fc1", spatial), (3, "pre_logits.fc2", (1, 1))):
        weight = state[f"classifier.{number}.weight"]
        renamed[f"{name}.weight"] = weight.reshape(len(weight), -1, *kernel)
        renamed[f"{name}.bias"] = state[f"classifier.{number}.bias"]
    return renamed | {f"head.fc.{part}": state[f"classifier.6.{part}"] for part in ("weight", "bias")}


def feature_map(state, images: np.ndarray, config: str, batch_norm: bool = False) -> np.ndarray:
    """Returns what `features` gives for images `(B, 3, H, W)`, in double precision."""
    outputs = np.asarray(images, np.float64)
    for number, module, _, _ in modules(config, batch_norm):
        if module == "conv":
            outputs = _convolution(outputs, state[f"features.{number}.weight"], state[f"features.{number}.bias"])
        elif module == "bn":
            weight, bias, mean, variance = (
                state[f"features.{number}.{name}"].astype(np.float64)[:, None, None]
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            outputs = (outputs - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) * weight + bias
        elif module == "relu":
            outputs = np.maximum(outputs, 0)
        else:
            height, width = (side // 2 * 2 for side in outputs.shape[2:])
            outputs = outputs[:, :, :height, :width]
            outputs = np.max([outputs[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    return outputs


def logits(state, images: np.ndarray, config: str, batch_norm: bool = False) -> np.ndarray:
    """Returns the net's outputs `(B, classes)` for images `(B, 3, H, W)`, in double precision."""
    outputs = feature_map(state, images, config, batch_norm)
    outputs = outputs.reshape(len(outputs), -1)
    for number in (0, 3, 6):
        outputs = outputs @ state[f"classifier.{number}.weight"].astype(np.float64).T + state[f"classifier.{number}.bias"]
        outputs = np.maximum(outputs, 0) if number < 6 else outputs
    return outputs


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns posteriors from logits `(B, classes)`."""
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def run_with(libraries: tuple[str, ...], program: str, *arguments) -> str:
    """Runs a program that needs torch, in a process of its own: torchvision crashes where TensorFlow is loaded.

    Returns:
        What it prints. The test is skipped where a library is not installed.
    """
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def _convolution(images, kernel, bias):
    reach = kernel.shape[2] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))  # (B, C, H, W, k, k)
    return np.einsum("bchwij,ocij->bohw", windows, kernel.astype(np.float64), optimize=True) + bias[:, None, None]
