"""Checks that report problems of a run early, each with a remedy."""

import math

from keras_vgg.data.class_names import class_name
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.support import files
from keras_vgg.support.counts import counted
from keras_vgg.tasks.task import Task
from keras_vgg.training.run_folder import RunFolder

_STUCK = 0.01  # a loss within this fraction of the chance level has learned nothing


class DivergedError(InputError):
    """The loss of a run became infinite or NaN."""


def check_loss(loss: float, recipe: Recipe, folder: RunFolder, *, epoch: int, step: int, learning_rate: float) -> None:
    """Raises `DivergedError` if the loss is infinite or NaN; `epoch` and `step` count from one."""
    if not math.isfinite(loss):
        kept = f"the last good checkpoint is in {folder.path}" if folder.state.exists() else "there is no checkpoint yet"
        precise = "" if recipe.precision == "float32" else ", or --precision float32"
        raise DivergedError(
            f"The loss became {loss} at epoch {epoch}, step {step} (learning rate {learning_rate:.3g}, init {recipe.init}, "
            f"{recipe.precision}). Start a new run with a lower --learning-rate, or --init glorot{precise}; {kept}."
        )


def check_data(then: dict, now: dict, folder: RunFolder) -> None:
    """Raises `InputError` if the dataset of a resumed run has changed; each dict has `sizes` and `classes`.

    Older runs may have stored class names that `class_name` had not yet normalized.
    """
    if then | {"classes": list(map(class_name, then["classes"]))} != now:
        raise InputError(
            f"Cannot resume {folder.path}: the classes or numbers of images of the dataset have changed since this run started "
            f"({then['sizes']} then, {now['sizes']} now). Pass another --workdir to start a new run."
        )


def check_class_weights(then: dict, now: dict, folder: RunFolder) -> None:
    """Raises `InputError` if the class weights of a resumed run have changed, for example in their file."""
    if then.get("class_weights") != now.get("class_weights"):
        raise InputError(
            f"Cannot resume {folder.path}: the class weights have changed since this run started, because --class-weights names "
            "another file or one that has changed. Restore the file, or pass another --workdir to start a new run."
        )


def check_broken(split: str, broken: float, size: int, named: list[tuple[str, str]], recipe: Recipe, folder: RunFolder) -> None:
    """Raises `InputError` if more images of a split could not be read than the recipe allows.

    Args:
        split: its name.
        broken: number of unreadable images in this epoch, over all workers.
        size: number of images of the split.
        named: `(image, reason)` of those that this worker encountered.
        recipe, folder: the run.
    """
    if broken > recipe.max_bad_fraction * size:
        # Images are read ahead of the steps that count them, and other workers list their own: either number may be larger.
        number = max(int(broken), len(named))
        told = "; ".join(f"{name}: {reason}" for name, reason in named[:5])
        ways = "Fix them" if folder.state.exists() else "Fix or remove them"  # a resumed run needs all its images
        unreadable = f"{number} of {counted(size, f'{split} image')}"
        raise InputError(
            f"{unreadable} could not be read, more than --max-bad-fraction {recipe.max_bad_fraction:g}"
            f"{', e.g. ' if number > len(named[:5]) else ': '}{told} (all listed in {folder.broken}). "
            f"{ways}, or raise --max-bad-fraction."
        )


def check_disk(folder: RunFolder, num_weights: int, slots: int = 1) -> None:
    """Raises `InputError` if the disk cannot hold the checkpoints of `num_weights` weights with `slots` optimizer values each."""
    needed = (2 * (1 + slots) + 2) * 4 * num_weights  # state, a new one written beside it, best.keras, last.keras
    free = files.free_bytes(folder.path)
    present = sum(path.stat().st_size for path in (folder.state, folder.best, folder.last) if path.exists())
    if free + present < needed:
        raise InputError(
            f"Checkpoints in {folder.path} need {needed / 1e6:,.0f} MB of free disk space. Received: {free / 1e6:,.0f} MB; "
            "free disk space or pass another --workdir."
        )


def stuck_warning(task: Task, loss: float, val_loss: float, init: str, learning_rate: float) -> str | None:
    """Returns a warning if both losses of an epoch are at the chance level, else `None`.

    Both must be: the training loss of a net that starts to learn passes that level too, but its validation loss is then lower.
    """
    chance = task.chance_loss
    if not chance or not all(abs(each - chance) < _STUCK * chance for each in (loss, val_loss)):
        return None
    return (
        f"Warning: the loss is stuck at {chance:.3f}, the chance level (init {init}, learning rate "
        f"{learning_rate:.2g}). If it stays there: deep nets need --init glorot or he, or --init-from a trained net A "
        "(Sec. 3.1); otherwise, try another --learning-rate."
    )
