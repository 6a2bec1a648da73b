import types

import keras
import numpy as np
import pytest

from keras_vgg.training.plateau import PlateauSchedule, learning_rate_of


def make(patience, rate=1.0):
    schedule = PlateauSchedule(patience)
    schedule.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(rate), stop_training=False))
    return schedule


def run(schedule, accuracies):
    """Returns the learning rate after each epoch, until the schedule ends the run."""
    schedule.on_train_begin()
    rates = []
    for epoch, accuracy in enumerate(accuracies):
        schedule.on_epoch_end(epoch, {"val_accuracy": accuracy})
        rates.append(float(schedule.model.optimizer.learning_rate))
        if schedule.model.stop_training:
            break
    return rates


def test_drops_three_times_and_ends_at_the_next_plateau():
    # Improves, then two epochs without improvement make each plateau.
    rates = run(make(patience=2), [0.1, 0.2] + [0.2] * 20)
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001])


def test_improvement_starts_the_count_again():
    rates = run(make(patience=2), [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3])
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 0.1])


def test_improvement_after_the_last_drop_keeps_the_run_going():
    schedule = make(patience=1)
    run(schedule, [0.5, 0.5, 0.5, 0.5, 0.6, 0.7])
    assert not schedule.model.stop_training
    assert float(schedule.model.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.parametrize("stopped_after", range(1, 9))
def test_restored_schedule_goes_on_as_if_never_stopped(stopped_after):
    accuracies = [0.1, 0.3, 0.2, 0.3, 0.4, 0.4, 0.4, 0.1, 0.4, 0.4, 0.4, 0.4]
    whole = run(make(patience=2), accuracies)
    first = make(patience=2)
    rates = run(first, accuracies[:stopped_after])
    second = make(patience=2, rate=rates[-1])
    second.restore(first.state())
    assert rates + run(second, accuracies[stopped_after:]) == pytest.approx(whole)


def test_is_kerass_own_callback():
    assert isinstance(make(1), keras.callbacks.ReduceLROnPlateau)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(1.0), "mse", metrics=["accuracy"])
    data = np.zeros((4, 2))
    history = model.fit(data, data, validation_data=(data, data), epochs=9, callbacks=[PlateauSchedule(1)], verbose=0)
    assert len(history.epoch) == 5  # the best epoch, three drops, and the plateau that ends it


def test_a_rate_is_told_as_it_was_given():
    """And not as the float64 that is nearest to a float32, 0.0003000000142492354."""
    assert learning_rate_of(keras.optimizers.SGD(0.0003)) == 0.0003
