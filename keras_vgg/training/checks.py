"""Checks that report problems of a run early, each with a remedy."""

import math

from keras_vgg import configs
from keras_vgg.data.class_names import class_name
from keras_vgg.errors import InputError
from keras_vgg.precision import BFLOAT16, FLOAT16, FLOAT32
from keras_vgg.recipe import Recipe
from keras_vgg.schedules import PLATEAU
from keras_vgg.support import files
from keras_vgg.support.counts import counted
from keras_vgg.tasks.task import Task
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.run_folder import RunFolder

_STUCK = 0.01  # a loss within this fraction of the chance level has learned nothing

LONG = 1000
"""Successive updates with the loss of a diverged net after which a run ends. Where a net starts with such a loss, its gradients are
large, and the first updates lower it."""


class DivergedError(InputError):
    """A run diverged: its loss is infinite, NaN or far above the chance level, or its gradients overflow at any loss scale."""


def check_loss(loss: float, recipe: Recipe, folder: RunFolder, *, epoch: int, step: int, learning_rate: float) -> None:
    """Raises `DivergedError` if the loss is infinite or NaN; `epoch` and `step` count from one."""
    if not math.isfinite(loss):
        place = f"at epoch {epoch}, step {step}"
        raise DivergedError(_diverged(f"The loss became {loss} {place}", recipe, folder, learning_rate))


def check_loss_scale(scale: LossScale, recipe: Recipe, folder: RunFolder, *, epoch: int, step: int, learning_rate: float) -> None:
    """Raises `DivergedError` if the loss scale, at which gradients overflowed, is the smallest; the places are as above."""
    if scale.is_smallest:
        place = f"at epoch {epoch}, step {step}"
        told = f"The gradients overflow float16 {place}, although the loss scale has fallen to {scale.value:g}"
        raise DivergedError(_diverged(told, recipe, folder, learning_rate))


def check_far(updates: int, loss: float, task: Task, recipe: Recipe, folder: RunFolder, *, learning_rate: float) -> None:
    """Raises `DivergedError` if the last `LONG` updates had the loss of a diverged net.

    Args:
        updates: number of successive updates that had.
        loss: the mean loss of the last.
        task, recipe, folder, learning_rate: the run.
    """
    if updates >= LONG:
        told = f"The loss was above {task.diverged_loss:.3g} for {updates} updates in a row and is {loss:.3g}"
        raise DivergedError(_diverged(told, recipe, folder, learning_rate))


def _diverged(told: str, recipe: Recipe, folder: RunFolder, learning_rate: float) -> str:
    kept = f"the last checkpoint is in {folder.path}" if folder.state.exists() else "there is no checkpoint yet"
    start = f"init {recipe.init}" if recipe.init_from is None else f"from {recipe.init_from}"
    settings = f"learning rate {learning_rate:.3g}, {start}, {recipe.precision}"
    return f"{told} ({settings}). Start a new run with {_against_divergence(recipe)}; {kept}."


def _against_divergence(recipe: Recipe) -> str:
    """Returns the flags that keep a run from diverging, without those that `recipe` already has."""
    ways = ["a lower --learning-rate"]
    if recipe.init_from is None and recipe.init != "glorot":
        ways.append("--init glorot")
    if recipe.clip_norm is None:
        ways.append("--clip-norm 1")
    if not recipe.warmup_epochs:
        ways.append("--warmup-epochs" if recipe.schedule != PLATEAU else "--warmup-epochs with --schedule cosine")
    if recipe.precision != FLOAT32:
        ways.append(f"--precision {FLOAT32}{f' or {BFLOAT16}' if recipe.precision == FLOAT16 else ''}")
    return _any_of(ways)


def _any_of(ways: list[str]) -> str:
    return " or ".join(ways) if len(ways) < 3 else f"{', '.join(ways[:-1])}, or {ways[-1]}"


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


def is_far(task: Task, *losses: float) -> bool:
    """Whether all of the mean losses are those of a diverged net; the net of an overfitted run has only a high validation loss."""
    return task.diverged_loss is not None and all(each > task.diverged_loss for each in losses)


def loss_warning(task: Task, loss: float, val_loss: float, recipe: Recipe, learning_rate: float) -> str | None:
    """Returns a warning if both losses of an epoch are at the chance level or those of a diverged net, else `None`.

    Both must be: the training loss of a net that starts to learn passes the chance level too, but its validation loss is then
    lower.
    """
    if is_far(task, loss, val_loss):
        level = f"; the chance level is {task.chance_loss:.3f}" if task.chance_loss else ""
        return (
            f"Warning: training seems to diverge: the losses are {loss:.3g} and {val_loss:.3g}{level} (learning rate "
            f"{learning_rate:.2g}). If they do not fall, start a new run with {_against_divergence(recipe)}."
        )
    chance = task.chance_loss
    if not chance or not all(abs(each - chance) < _STUCK * chance for each in (loss, val_loss)):
        return None
    return (
        f"Warning: the loss is stuck at {chance:.3f}, the chance level (learning rate {learning_rate:.2g}). If it stays there, "
        f"try {_against_standstill(recipe)}."
    )


def _against_standstill(recipe: Recipe) -> str:
    """Returns the flags that help a deep net to start learning, without those that `recipe` already has."""
    ways = ["another --learning-rate"]
    if recipe.init_from is None:
        if recipe.init != "glorot":
            ways.append("--init glorot")
        if len(configs.get_config(recipe.arch).convolutions) > len(configs.get_config("A").convolutions):
            ways.append("--init-from a trained net A (Sec. 3.1)")
    if not recipe.batch_norm:
        ways.append("--batch-norm")
    return _any_of(ways)
