"""What a model's classes are called: known after loading, and by what is made of the model."""

import keras
import numpy as np
import pytest
from run_folders import write_run

from keras_vgg import applications, class_names, transfer
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.models import build_vgg
from keras_vgg.weights.loading import load_weights
from keras_vgg.weights.saving import save_model, save_weights
from keras_vgg.weights.weight_file import open_weights

NAMES = ("ash", "beech", "yew")
SMALL = {"input_shape": (32, 32, 3), "width": 0.05}


@pytest.fixture
def net():
    model = build_vgg("A", classes=3, **SMALL)
    class_names.remember(model, NAMES)
    return model


@pytest.mark.parametrize("kind", ["keras", "weights.h5", "h5", "pth"])
def test_a_loaded_model_knows_them_from_its_run_and_from_its_file(tmp_path, kind):
    run = write_run(tmp_path / "run", classes=NAMES)
    file = tmp_path / f"net.{kind}"
    save_weights(open_weights(run), file)
    for place in (run, file):
        assert class_names.for_model(transfer.load_model(place)) == NAMES
    again = tmp_path / "again.keras"
    save_model(transfer.load_model(file), again)
    assert class_names.for_model(transfer.load_model(again)) == NAMES


def test_a_built_model_knows_them_with_the_weights_it_loads(tmp_path, net):
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    net.save(tmp_path / "net.keras")
    model = build_vgg("A", classes=3, **SMALL)
    load_weights(model, tmp_path / "net.keras")  # as `applications` do
    assert class_names.for_model(model) == NAMES
    (tmp_path / "classes.txt").write_text("one\ntwo\n")  # of something else
    assert class_names.known(transfer.load_model(tmp_path / "net.keras")) is None


def test_models_made_of_its_layers_know_them_and_others_do_not(net):
    dense = to_fully_convolutional(net, activation=None)
    whole = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1), net, keras.layers.Activation("linear")])
    assert class_names.for_model(dense) == class_names.for_model(whole) == NAMES
    for other in (keras.Model(net.input, net.get_layer("fc2").output), build_vgg("A", classes=3, **SMALL)):
        with pytest.raises(InputError, match=r"class names of model .* are not known"):
            class_names.for_model(other)
    with pytest.raises(InputError, match="must have 3 class names"):
        class_names.remember(net, NAMES[:2])


def test_predictions_are_told_by_these_names(net):
    posteriors = np.array([[0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
    told = applications.decode_predictions(posteriors, top=2, classes=net)
    assert told == [[("beech", "beech", 0.7), ("ash", "ash", 0.2)], [("yew", "yew", 0.4), ("ash", "ash", 0.3)]]
    assert applications.decode_predictions(posteriors, top=2, classes=NAMES) == told
    assert applications.decode_predictions(np.array([[0.25]]), classes=["no", "yes"]) == [
        [("no",) * 2 + (0.75,), ("yes",) * 2 + (0.25,)]
    ]
    with pytest.raises(InputError, match=r"`preds` must be \(B, 3\), .* Received: shape \(2, 2\)"):
        applications.decode_predictions(posteriors[:, :2], classes=net)
    with pytest.raises(ValueError, match="1000"):  # as Keras itself
        applications.decode_predictions(posteriors)
