"""Training from Python: the same run as by the command `keras_vgg.fit`, with Keras callbacks."""

import os
import pathlib
import signal
from collections.abc import Sequence

import keras

from keras_vgg import fine_tuning, transfer
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe, check_scales, read_recipe, resolve
from keras_vgg.support import extras
from keras_vgg.training import run
from keras_vgg.training.callbacks import checked
from keras_vgg.training.freezing import frozen_layers
from keras_vgg.training.run_folder import choose_folder
from keras_vgg.training.trainer import Stopped
from keras_vgg.training.workers import many_workers


class History(keras.callbacks.History):
    """A `keras.callbacks.History` of the epochs of one call of `fit`; `log.csv` in the folder covers the whole run.

    Attributes:
        history: lists of per-epoch values by name: `loss`, `accuracy`, `val_loss`, …, `learning_rate`.
        epoch: the epochs, from 0.
        model: the trained net, compiled, as training and callbacks left it.
        folder: the run folder, with the best and the last net.
    """

    def __init__(self, folder: pathlib.Path):
        super().__init__()
        self.epoch: list[int] = []
        self.folder = folder


def fit(
    recipe: Recipe | str | os.PathLike[str],
    *,
    workdir: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
) -> History:
    """Trains a recipe as `python -m keras_vgg.fit` does, and calls callbacks as `Model.fit` does.

    The run folder, its files and resumption are the same as with the command, with or without callbacks: the same call resumes a
    stopped run, and the call and the command can resume each other's runs. A finished run is not trained again.

    Callbacks receive Keras' names: `loss`, `accuracy`, `top5_accuracy` (multi-label: `label_error`), the same with `val_` (and
    `val_mean_ap`), and `learning_rate`. A training batch is a weight update. A resumed run continues the epoch count, but
    callbacks restart their own counters. `model.stop_training = True` ends the run after the update or epoch, with everything
    saved; the same call resumes it. Weights that a callback sets at the end, as `EarlyStopping` with `restore_best_weights` does,
    affect only the returned model. Files saved by `ModelCheckpoint` include the optimizer, which Keras can load once
    `keras_vgg.training.SGD` is imported. All workers must be given the same callbacks, whose types are compared.

    Args:
        recipe: a `Recipe`, a recipe file, or the name of one of the package's recipes, such as `"quickstart"`.
        workdir: the run folder; by default the unfinished one of this recipe under `runs/`, or a new one.
        callbacks: Keras callbacks. Those that set the learning rate or restore a run are rejected: the recipe controls both.

    Returns:
        The history of this call, with the model and the run folder.

    Raises:
        InputError: for any error that the user can fix.
        KeyboardInterrupt: on Ctrl-C in the main thread, after saving; SIGTERM and SIGHUP are also raised again then.
        Stopped: if the signal does not end the program, or if another worker was asked to stop.

    Example:
        >>> import contextlib
        >>> import tempfile
        >>> import keras
        >>> from keras_vgg import training
        >>> from keras_vgg.recipe import Recipe
        >>> digits = Recipe(width=0.05, crop=32, scale=32, limit_images=64, batch_size=32, epochs=2, random_flip=False, color=False)
        >>> stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3)
        >>> with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        ...     history = training.fit(digits, workdir=f"{folder}/run", callbacks=[stop])
        >>> history.epoch, len(history.history["val_accuracy"])
        ([0, 1], 2)
    """
    if (keras.backend.backend(), keras.config.image_data_format()) != ("tensorflow", "channels_last"):
        raise InputError(
            "Training requires Keras with the TensorFlow backend and channels_last images. Received: "
            f"{keras.backend.backend()}, {keras.config.image_data_format()}."
        )
    extras.require("train")
    given = checked(callbacks)
    wanted, name = _wanted(recipe, workdir)
    frozen_layers(wanted.arch, wanted.freeze)
    if workdir is None and many_workers():
        raise InputError("Training with several workers requires `workdir`, a folder shared by all workers. Received: None.")
    folder, unfinished = choose_folder(workdir, wanted, name)
    history = History(folder.path)
    if folder.is_finished(wanted):
        print(f"{folder.path} contains a finished run. Pass another `workdir` to start a new run.")
        history.set_model(transfer.load_model(folder.last))
        return history
    print(f"run folder: {folder.path}{' (unfinished)' if unfinished else ''}", flush=True)
    stopped = None
    try:
        run.train(wanted, folder, [history, *given])
    except Stopped as wish:
        stopped = wish
    finally:
        folder.release()
    if stopped:
        print(f"\nstopped; saved in {folder.path}. Repeat the call to resume.", flush=True)
        if stopped.signal:
            signal.raise_signal(stopped.signal)  # the caller's handlers are restored by now
        raise stopped
    return history


def _wanted(recipe: Recipe | str | os.PathLike[str], workdir) -> tuple[Recipe, str]:
    """Returns the recipe to train, and the name for a new run."""
    if isinstance(recipe, Recipe):
        return recipe, f"net-{recipe.arch.lower()}"
    given = read_recipe(recipe)
    check_scales(given, f"Recipe {os.fspath(recipe)}")
    net: dict = {}
    if given.get("init_from") and "arch" not in given:  # the weights determine the net
        begun = pathlib.Path(workdir) if workdir is not None else None
        if begun and (begun / "recipe.toml").exists():
            net = fine_tuning.of_run(begun, given, fine_tuning=False)
        else:
            net, _ = fine_tuning.of_weights(given, fine_tuning=False)
    return resolve(net, given), pathlib.Path(recipe).stem
