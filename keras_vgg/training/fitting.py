"""Training from Python: a run as the command `keras_vgg.fit` makes it, with Keras callbacks."""

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
    """What `Model.fit` returns, of the epochs of one call of `fit`; `log.csv` in the folder has those of the whole run.

    Attributes:
        history: a list of figures over the epochs by name: `loss`, `accuracy`, `val_loss`, …, `learning_rate`.
        epoch: the epochs, from 0.
        model: the trained net, compiled, as training and callbacks left it.
        folder: the run folder, with the best net and the last.
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
    """Trains what a recipe says, as `python -m keras_vgg.fit` does, and calls callbacks as `Model.fit` does.

    The run folder, its files and resumption are the command's, and callbacks change nothing of them: the same call goes on where it
    was stopped, and either goes on with the other's run. A run that comes to its end is not trained again.

    Callbacks get Keras' names: `loss`, `accuracy`, `top5_accuracy` (multi-label: `label_error`), the same with `val_` (and
    `val_mean_ap`), and `learning_rate`. A batch of the training is a weight update. Epochs of a resumed run go on counting; what
    callbacks themselves have counted begins anew. `model.stop_training = True` ends the run after the update or epoch, with
    everything saved; the same call goes on from there. Weights that a callback sets at the end, as `EarlyStopping` with
    `restore_best_weights` does, are those of the returned model alone. What `ModelCheckpoint` saves has the optimizer along, of
    which Keras knows once `keras_vgg.training.SGD` is imported. Of several workers each is to be given the same callbacks.

    Args:
        recipe: what to train: a `Recipe`, a recipe file, or one of the package's by name, such as `"quickstart"`.
        workdir: the run folder; by default the unfinished one of this recipe under `runs/`, or a new one.
        callbacks: Keras callbacks. Those that set the learning rate or restore a run are refused: that is the recipe's.

    Returns:
        The history of this call, with the model and the run folder.

    Raises:
        InputError: for whatever the user can mend.
        KeyboardInterrupt: on Ctrl-C in the main thread, with everything saved; SIGTERM and SIGHUP, too, take their course then.
        Stopped: if that does not end the program, or if another worker was told to stop.

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
            "Training needs Keras on TensorFlow with channels last. Received: "
            f"{keras.backend.backend()}, {keras.config.image_data_format()}."
        )
    extras.require("train")
    given = checked(callbacks)
    wanted, name = _wanted(recipe, workdir)
    frozen_layers(wanted.arch, wanted.freeze)
    if workdir is None and many_workers():
        raise InputError("Several workers need `workdir`, a folder that all of them see. Received: None.")
    folder, unfinished = choose_folder(workdir, wanted, name)
    history = History(folder.path)
    if folder.is_finished(wanted):
        print(f"{folder.path} holds a finished run; give another workdir to train anew")
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
        print(f"\nstopped; saved in {folder.path}. The same call goes on from here.", flush=True)
        if stopped.signal:
            signal.raise_signal(stopped.signal)  # its handlers are the caller's again
        raise stopped
    return history


def _wanted(recipe: Recipe | str | os.PathLike[str], workdir) -> tuple[Recipe, str]:
    """Returns what to train, and what a new run is called after."""
    if isinstance(recipe, Recipe):
        return recipe, f"net-{recipe.arch.lower()}"
    given = read_recipe(recipe)
    check_scales(given, f"Recipe {os.fspath(recipe)}")
    net: dict = {}
    if given.get("init_from") and "arch" not in given:  # the net is that of the weights
        begun = pathlib.Path(workdir) if workdir is not None else None
        if begun and (begun / "recipe.toml").exists():
            net = fine_tuning.of_run(begun, given, fine_tuning=False)
        else:
            net, _ = fine_tuning.of_weights(given, fine_tuning=False)
    return resolve(net, given), pathlib.Path(recipe).stem
