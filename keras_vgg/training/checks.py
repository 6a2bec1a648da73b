"""What can go wrong in a run and should be told at once, each with a way out."""

import math

from keras_vgg.data.class_names import class_name
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.support import files
from keras_vgg.tasks.task import Task
from keras_vgg.training.run_folder import RunFolder

_STUCK = 0.01  # a loss within this share of the one of guessing has learnt nothing


class DivergedError(InputError):
    """The loss of a run became infinite or no number."""


def check_loss(loss: float, recipe: Recipe, folder: RunFolder, *, epoch: int, step: int, learning_rate: float) -> None:
    """Raises `DivergedError` if the loss is infinite or no number; `epoch` and `step` count from one."""
    if not math.isfinite(loss):
        kept = f"the last good checkpoint is in {folder.path}" if folder.state.exists() else "there is no checkpoint yet"
        precise = "" if recipe.precision == "float32" else ", or --precision float32"
        raise DivergedError(
            f"The loss became {loss} at epoch {epoch}, step {step} (learning rate {learning_rate:.3g}, init {recipe.init}, "
            f"{recipe.precision}). Start anew with a lower --learning-rate, or --init glorot{precise}; {kept}."
        )


def check_data(then: dict, now: dict, folder: RunFolder) -> None:
    """Raises `InputError` if a run is gone on with on other data; each dict has `sizes` and `classes`.

    Runs begun before names of classes were taken as `class_name` has them may know them otherwise stored.
    """
    if then | {"classes": list(map(class_name, then["classes"]))} != now:
        raise InputError(
            f"{folder.path} must be gone on with on the data it began with. Received: other classes or numbers of images "
            f"({then['sizes']} then, {now['sizes']} now); give another --workdir."
        )


def check_class_weights(then: dict, now: dict, folder: RunFolder) -> None:
    """Raises `InputError` if a run is gone on with other weights of the classes, as where their file has changed."""
    if then.get("class_weights") != now.get("class_weights"):
        raise InputError(
            f"{folder.path} must be gone on with the weights of classes it began with. Received: others, so that --class-weights "
            "names another file, or one that has changed; put it back, or give another --workdir."
        )


def check_broken(split: str, broken: float, size: int, named: list[tuple[str, str]], recipe: Recipe, folder: RunFolder) -> None:
    """Raises `InputError` if more images of a split could not be read than the recipe allows.

    Args:
        split: its name.
        broken: number of images that could not be read in this epoch, over all workers.
        size: number of images of the split.
        named: `(image, reason)` of those that this worker met.
        recipe, folder: the run.
    """
    if broken > recipe.max_bad_fraction * size:
        # Images are read ahead of the steps that count them, and other workers list their own: either number may be the greater.
        number = max(int(broken), len(named))
        told = "; ".join(f"{name}: {reason}" for name, reason in named[:5])
        ways = "Mend them" if folder.state.exists() else "Mend or remove them"  # a run begun needs its images where they were
        raise InputError(
            f"{number} of {size} {split} images could not be read, more than --max-bad-fraction {recipe.max_bad_fraction:g}"
            f"{', e.g. ' if number > len(named[:5]) else ': '}{told} (all in {folder.broken}). "
            f"{ways}, or allow more."
        )


def check_disk(folder: RunFolder, num_weights: int, slots: int = 1) -> None:
    """Raises `InputError` if the disk cannot hold the checkpoints of a net of `num_weights` and an optimizer's `slots` of each."""
    needed = (2 * (1 + slots) + 2) * 4 * num_weights  # state, a new one written beside it, best.keras, last.keras
    free = files.free_bytes(folder.path)
    present = sum(path.stat().st_size for path in (folder.state, folder.best, folder.last) if path.exists())
    if free + present < needed:
        raise InputError(
            f"The disk of {folder.path} must have {needed / 1e9:.1f} GB free for checkpoints. Received: {free / 1e9:.1f} GB; "
            "make room or give another --workdir."
        )


def stuck_warning(task: Task, loss: float, val_loss: float, init: str, learning_rate: float) -> str | None:
    """Returns a warning if an epoch's losses are what guessing gives, else `None`.

    Both must be: while a net begins to learn, the training loss of an epoch passes there, and the validation loss is lower by then.
    """
    chance = task.chance_loss
    if not chance or not all(abs(each - chance) < _STUCK * chance for each in (loss, val_loss)):
        return None
    return (
        f"Warning: the loss is stuck at {chance:.3f}, what guessing gives (init {init}, learning rate "
        f"{learning_rate:.2g}). If it stays there: a deep net needs --init glorot or he, or --init-from a trained net A "
        "(Sec. 3.1); after that, try another --learning-rate."
    )
