"""Training from Python: callbacks are called as by `Model.fit`, and change nothing of the run."""

import pathlib
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from run_folders import outcome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_vgg import training, transfer
from keras_vgg.data.split import LABEL
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.recipe import Recipe, to_toml
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import checkpoint
from keras_vgg.training.callbacks import KerasCallbacks
from keras_vgg.training.report import Events

pytestmark = pytest.mark.usefixtures("colors_measured_once", "graphs_as_traced")

SMALL = {
    **{"width": 0.02, "crop": 32, "jitter": (32, 40), "batch_size": 50, "learning_rate": 0.002, "limit_images": 120},
    **{"epochs": 2, "micro_batch": 25, "jit": False},
}


def recorder(calls):
    """A callback that notes which of its hooks were called, with what number and which figures."""

    def noting(hook):
        def note(self, *arguments, logs=None):
            *place, logs = (*arguments, logs) if logs is not None or not isinstance(arguments[-1:], dict) else arguments
            if place and isinstance(place[-1], dict):
                logs = place.pop()
            calls.append((hook, *place, tuple(sorted(logs or ()))))

        return note

    hooks = [
        f"on_{each}_{end}"
        for each in ("train", "epoch", "train_batch", "test", "test_batch", "predict", "predict_batch")
        for end in ("begin", "end")
    ]
    return type("Recorder", (keras.callbacks.Callback,), {hook: noting(hook) for hook in hooks})()


class When(keras.callbacks.Callback):
    """Does something after so many weight updates, or epochs."""

    def __init__(self, what, *, update=None, epoch=None):
        super().__init__()
        self.what, self.update, self.epoch, self.updates = what, update, epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1
        if self.updates == self.update:
            self.what(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.what(self.model)


def stop(model):
    model.stop_training = True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run with no callbacks, from a recipe file."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.toml").write_text(to_toml(Recipe(**SMALL)))
    return training.fit(folder / "small.toml", workdir=folder / "run")


def test_what_comes_back_is_keras_history_and_the_net(undisturbed):
    assert isinstance(undisturbed, keras.callbacks.History)
    assert undisturbed.epoch == [0, 1]
    log = (undisturbed.folder / "log.csv").read_text().splitlines()
    errors = [float(line.split(",")[log[0].split(",").index("val_top1_error")]) for line in log[1:]]
    np.testing.assert_allclose(undisturbed.history["val_accuracy"], 1 - np.array(errors))
    assert undisturbed.history["learning_rate"] == [0.002, 0.002]
    last = transfer.load_model(undisturbed.folder / "last.keras").get_weights()
    assert all(map(np.array_equal, undisturbed.model.get_weights(), last))
    again = training.fit(
        undisturbed.folder.parent / "small.toml", workdir=undisturbed.folder
    )  # a finished run is not trained again
    assert again.epoch == []
    assert all(map(np.array_equal, again.model.get_weights(), last))


@pytest.mark.slow
def test_stopped_by_ctrl_c_and_by_a_callback_it_goes_on_to_the_same_run(undisturbed, tmp_path):
    """And the calls are those of `Model.fit`."""
    recipe, folder = Recipe(**SMALL), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(recipe, workdir=folder, callbacks=[When(lambda model: signal.raise_signal(signal.SIGINT), update=1)])
    cut = training.fit(recipe, workdir=folder, callbacks=[When(stop, update=1)])
    assert cut.epoch == [0]  # validated and told, as by Keras, but not a row of the run's log
    assert not (folder / "log.csv").exists()
    calls = []
    whole = training.fit(recipe, workdir=folder, callbacks=[[recorder(calls)], When(stop, epoch=1)])
    assert (whole.epoch, whole.history) == (undisturbed.epoch, undisturbed.history)
    assert outcome(folder) == outcome(undisturbed.folder)

    theirs = []
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(10, activation="softmax")])
    top5 = keras.metrics.SparseTopKCategoricalAccuracy(5, "top5_accuracy")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", top5])
    x, y = np.zeros((120, 1)), np.zeros(120)
    model.fit(x, y, 40, 2, 0, [recorder(theirs)], validation_data=(x, y), validation_batch_size=25)
    ours = [(*call, tuple(name for name in names if name != "learning_rate")) for *call, names in calls]
    done = theirs.index(("on_train_batch_begin", 2, ()))  # the updates before the two stops
    assert ours == theirs[:2] + theirs[done:]


class Saved(keras.callbacks.Callback):
    """Keeps the weights that it sees after each epoch."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


@pytest.mark.slow
def test_callbacks_see_the_weights_that_are_tested_and_may_bring_the_best_back(tmp_path):
    """With an average of the weights, on two replicas."""
    recipe = Recipe(**SMALL | {"epochs": 3, "ema_momentum": 0.9, "strategy": "mirrored", "replicas": 2})
    saved, folder = Saved(), tmp_path / "run"
    best = keras.callbacks.EarlyStopping("val_accuracy", baseline=2.0, patience=2, restore_best_weights=True)
    checkpoints = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    history = training.fit(recipe, workdir=folder, callbacks=[saved, best, checkpoints])
    assert history.epoch == [0, 1]  # never as good as the baseline
    last = transfer.load_model(folder / "last.keras").get_weights()
    assert all(map(np.array_equal, saved.weights[-1], last))
    assert all(map(np.array_equal, history.model.get_weights(), saved.weights[best.best_epoch]))
    assert all(map(np.array_equal, keras.saving.load_model(tmp_path / "1.keras").get_weights(), saved.weights[0]))
    trained, values = checkpoint.load(folder / "state.zip")
    assert values["position"]["epoch"] == 2
    assert not np.array_equal(trained[0], last[0])


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau, .* `schedule` 'plateau' with `patience`"),
        (training.PlateauSchedule(), "PlateauSchedule, .* `schedule` 'plateau' with `patience`"),
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "`schedule` 'constant', 'step' or 'cosine'"),
        (keras.callbacks.BackupAndRestore("backup"), "BackupAndRestore, .* checkpoint"),
        (keras.callbacks.EarlyStopping, "must be instances of keras.callbacks.Callback. Received: <class"),
        (
            keras.callbacks.EarlyStopping("val_acc"),
            "`monitor` of EarlyStopping must be one of loss, accuracy, .* Received: 'val_acc'",
        ),
        (
            keras.callbacks.ModelCheckpoint("m.keras", "learning_rate"),
            "`mode` of ModelCheckpoint must be 'max' or 'min' to monitor",
        ),
    ],
)
def test_what_a_run_cannot_honour_is_told(tmp_path, callback, told):
    with pytest.raises(InputError, match=told):
        training.fit(Recipe(**SMALL), workdir=tmp_path / "run", callbacks=[callback])
    assert not pathlib.Path("backup").exists()


@pytest.mark.parametrize("hook", ["update_begins", "update_ends", "epoch_begins", "epoch_ends"])
def test_a_callback_that_changes_the_learning_rate_is_told(hook):
    class Change(keras.callbacks.Callback):
        """At every opportunity."""

        def change(self, *arguments, logs=None):
            self.model.optimizer.learning_rate = 0.5

        on_train_batch_begin = on_train_batch_end = on_epoch_begin = on_epoch_end = change

    model, optimizer = build_vgg("A", input_shape=(32, 32, 3), classes=2, width=0.02), training.SGD(0.002)
    told = KerasCallbacks([Change()], model, optimizer, Classification(("a", "b")), LABEL, epochs=1, steps=1)
    told.train_begins()
    arguments = {"update_ends": (0, dict), "epoch_ends": (0, {}, {})}.get(hook, (0,))
    with pytest.raises(InputError, match=r"must not change the learning rate.* changed it from 0.002 to 0.5"):
        getattr(told, hook)(*arguments)


def scalars(folder):
    """`{tag: {step: value}}` of TensorBoard's events."""
    events = EventAccumulator(str(folder), {"tensors": 0}).Reload()
    return {
        tag: {each.step: float(tf.make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def test_training_and_validation_are_in_one_chart(undisturbed):
    train, validation = (scalars(undisturbed.folder / "tensorboard" / name) for name in ("train", "validation"))
    assert {"epoch_loss", "epoch_top1_error", "epoch_top5_error"} == set(validation) == set(train) & set(validation)
    assert list(train["batch_loss"]) == [1, 2, 3, 4, 5, 6]
    for figures, name in ((train, "loss"), (validation, "val_loss")):
        np.testing.assert_allclose([figures["epoch_loss"][1], figures["epoch_loss"][2]], undisturbed.history[name], rtol=1e-6)


def test_charts_of_a_run_that_goes_on_begin_with_its_first_epoch(tmp_path):
    """Also where an earlier version began it, whose events lay in one place."""
    task = Classification(("a", "b"))
    row = {"learning_rate": 0.1} | {f"{which}{name}": 0.5 for name in task.columns for which in ("", "val_")}
    history = [row | {"epoch": epoch, "val_loss": epoch / 10} for epoch in (1, 2, 3)]
    for rows in (history[:2], history):
        events = Events(tmp_path, task)
        events.write_epoch(rows)
        events.close()
    found = scalars(tmp_path / "validation")["epoch_loss"]
    assert found == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
