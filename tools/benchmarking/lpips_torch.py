"""The package `lpips` in training a generator, in a plain PyTorch loop."""

import itertools
import math
import time

import lpips
import torch

from benchmarking.pictures import GENERATOR, LEARNING_RATE, LossSettings
from benchmarking.torch_peer import DEVICE

_LAYOUT = torch.channels_last  # 10% faster than the default, see BUILD.md


class Training:
    """Adam; the loss uses a random net, like ours."""

    processes = 0

    def __init__(self, settings: LossSettings):
        layers: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise((3, *GENERATOR)):
            layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU()]
        layers.append(torch.nn.Conv2d(GENERATOR[-1], 3, 3, padding=1))
        self._model = torch.nn.Sequential(*layers).to(DEVICE, memory_format=_LAYOUT)
        judge = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False).eval().requires_grad_(False)
        self._judge = judge.to(DEVICE, memory_format=_LAYOUT)
        self._optimizer = torch.optim.Adam(self._model.parameters(), LEARNING_RATE)
        self._batches = [tuple(map(_tensor, pair)) for pair in settings.batches()]
        self.note = f"{DEVICE}, channels_last, {torch.get_num_threads()} threads"

    def run(self, steps: int) -> float:
        """Makes `steps` updates and returns the seconds."""
        began = time.perf_counter()
        for degraded, whole in self._batches[:steps]:
            self._optimizer.zero_grad()
            loss = self._judge(whole, degraded + self._model(degraded), normalize=True).mean()
            loss.backward()
            self._optimizer.step()
            value = loss.item()
        bias = self._model[-1].bias.sum().item()  # waits for the last update
        seconds = time.perf_counter() - began
        if not math.isfinite(value + bias):
            raise RuntimeError("Training diverged: its time is meaningless.")
        return seconds


def _tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(DEVICE).contiguous(memory_format=_LAYOUT)
