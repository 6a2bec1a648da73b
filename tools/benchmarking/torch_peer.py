"""torchvision: its nets in a plain PyTorch loop, its transforms in a DataLoader."""

import math
import os
import random
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional

from benchmarking.pictures import CLASSES, LEARNING_RATE, NetSettings, ReadingSettings

NETS = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_DTYPES = {"float32": None, "mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}
_MEAN, _STD = (torch.tensor(values, device=DEVICE).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def _build(settings: NetSettings) -> torch.nn.Module:
    model = torchvision.models.get_model(NETS[settings.arch], weights=None, num_classes=CLASSES)
    if settings.crop != 224:
        # torchvision pools any map to 7x7 before fc1, ours does not pool. This makes both the same at sizes other than 224.
        model.avgpool = torch.nn.Identity()
        model.classifier[0] = torch.nn.Linear(512 * (settings.crop // 32) ** 2, 4096)
    return model.to(DEVICE, memory_format=memory_format(settings.precision))


def memory_format(precision: str) -> torch.memory_format:
    """Returns channels last in half precision, as PyTorch's guides advise, and PyTorch's default in float32."""
    return torch.channels_last if _DTYPES[precision] else torch.contiguous_format


def autocast(precision: str) -> torch.autocast:
    """Returns a context that computes in a given precision."""
    dtype = _DTYPES[precision]
    return torch.autocast(DEVICE, dtype, enabled=dtype is not None)


def _batches(settings: NetSettings, size: int):
    images, labels = settings.images()
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))  # as from PILToTensor
    images = images.contiguous(memory_format=memory_format(settings.precision))
    return list(zip(images.split(size), torch.from_numpy(labels).long().split(size), strict=True))


def normalize(images):
    """Returns uint8 images normalized for torchvision's nets, on the device."""
    return (images.to(DEVICE).float() / 255 - _MEAN) / _STD


def _note(model, settings: NetSettings) -> str:
    layout = "" if _DTYPES[settings.precision] is None else "autocast, channels_last, "
    parameters = sum(weights.numel() for weights in model.parameters())
    return f"{layout}{DEVICE}, {torch.get_num_threads()} threads, {parameters:,} parameters"


class Training:
    """SGD with momentum and weight decay; dropout on; gradients scaled in float16."""

    processes = 0

    def __init__(self, settings: NetSettings):
        self._model, self._batches = _build(settings).train(), _batches(settings, settings.micro_batch)
        self._micro_batches, self._autocast = settings.micro_batches, autocast(settings.precision)
        self._scaler = torch.amp.GradScaler(DEVICE, enabled=settings.precision == "mixed_float16")
        self._loss = torch.nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(self._model.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
        self.note = _note(self._model, settings)

    def run(self, steps: int) -> float:
        """Makes `steps` weight updates and returns the seconds."""
        began = time.perf_counter()
        for step in range(steps):
            self._optimizer.zero_grad()
            for images, labels in self._batches[step * self._micro_batches : (step + 1) * self._micro_batches]:
                with self._autocast:
                    loss = self._loss(self._model(normalize(images)), labels.to(DEVICE)) / self._micro_batches
                self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            loss_value = loss.item()
        bias = self._model.classifier[-1].bias.sum().item()  # waits for the last update
        seconds = time.perf_counter() - began
        if not math.isfinite(loss_value + bias):
            raise RuntimeError("Training diverged: its time is meaningless.")
        return seconds


class Forward:
    """Posteriors of uint8 images, in evaluation mode and without gradients."""

    processes = 0

    def __init__(self, settings: NetSettings):
        self._model, self._batches = _build(settings).eval(), _batches(settings, settings.batch)
        self._autocast = autocast(settings.precision)
        self.note = f"eval, no_grad, {_note(self._model, settings)}"

    def run(self, steps: int) -> float:
        """Predicts `steps` batches, from memory to memory, and returns the seconds."""
        began = time.perf_counter()
        with torch.no_grad(), self._autocast:
            for images, _ in self._batches[:steps]:
                self._model(normalize(images)).float().softmax(1).cpu()
        return time.perf_counter() - began


class _JitteredFiles(torch.utils.data.Dataset):
    """Loads files as `ImageFolder` does, with the paper's scale jitter (Sec. 3.1)."""

    def __init__(self, settings: ReadingSettings):
        self._paths, self._jitter = settings.paths, settings.jitter
        self._crop = torchvision.transforms.RandomCrop(settings.crop)
        self._flip = torchvision.transforms.RandomHorizontalFlip()

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        with open(self._paths[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        image = functional.resize(image, random.randint(*self._jitter), functional.InterpolationMode.BILINEAR)
        return functional.pil_to_tensor(self._flip(self._crop(image))), 0


class Reading:
    """The transforms in a `DataLoader` with a worker process per core."""

    processes = os.cpu_count()
    note = f"PIL, Resize, RandomCrop, flip; DataLoader, {os.cpu_count()} workers"

    def __init__(self, settings: ReadingSettings):
        self._warm_up = settings.warm_up
        dataset = _JitteredFiles(settings)
        self._loader = torch.utils.data.DataLoader(
            dataset,
            settings.batch,
            sampler=torch.utils.data.RandomSampler(dataset, num_samples=2**40),  # endless
            num_workers=self.processes,
            multiprocessing_context="fork",  # the default on Linux; the contest's own "spawn" must not apply
        )

    def run(self, steps: int) -> float:
        """Reads `steps` batches and returns the seconds."""
        batches = iter(self._loader)
        for _ in range(self._warm_up):
            next(batches)
        began = time.perf_counter()
        for _ in range(steps):
            next(batches)
        return time.perf_counter() - began
