"""A recipe's images under a plain `compile` and `fit`: what is learnt is what a run learns."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_vgg import training
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.recipe import Recipe

pytestmark = pytest.mark.usefixtures("colors_measured_once", "graphs_as_traced")

RECIPE = Recipe(
    **{"width": 0.05, "crop": 32, "jitter": (32, 40), "batch_size": 50, "learning_rate": 0.002, "limit_images": 120, "epochs": 2},
    **{"dropout": 0.0, "seed": 3, "jit": False, "random_erasing": 0.5, "sampling": "balanced"},
)


def test_a_plain_fit_on_them_ends_with_the_weights_of_a_run(tmp_path):
    """Dropout apart, whose masks in a run are those of the examples."""
    run = training.fit(RECIPE, workdir=tmp_path / "run")
    data = training.load_data(RECIPE)
    assert (len(data.train), len(data.validation), data.classes) == (3, 3, tuple("0123456789"))
    keras.utils.set_random_seed(RECIPE.seed)
    model = build_vgg("A", input_shape=(32, 32, 3), classes=10, width=0.05, dropout=0)
    model.compile(training.SGD(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    history = model.fit(data.train, validation_data=data.validation, epochs=2, verbose=0)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history.history[name], run.history[name], rtol=1e-4)
    for ours, theirs in zip(model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_every_pass_is_the_next_epoch_and_begins_where_it_is_told():
    data = training.load_data(RECIPE)
    first, second = ([(images.numpy(), labels.numpy()) for images, labels in data.train] for _ in range(2))
    (again, labels), *_ = training.load_data(RECIPE, first_epoch=1).train
    np.testing.assert_array_equal(again, second[0][0])
    np.testing.assert_array_equal(labels, second[0][1])
    assert [len(labels) for _, labels in first] == [50, 50, 20]
    assert not np.array_equal(first[0][1], second[0][1])
    every = [np.sort(np.concatenate([labels for _, labels in epoch])) for epoch in (first, second)]
    np.testing.assert_array_equal(*every)  # each image once
    centre = [[images.numpy() for images, _ in data.validation] for _ in range(2)]
    assert all(map(np.array_equal, *centre))


def test_what_a_training_step_does_is_no_part_of_batches():
    with pytest.raises(
        InputError, match=r"does not mix or weight examples\. Received: mixup=0\.2, class_weights='balanced'; use `training\.fit`"
    ):
        training.load_data(Recipe(mixup=0.2, class_weights="balanced"))


def test_what_cannot_be_read_is_told_and_left_out(tmp_path):
    for name in "ab":
        for number in range(6):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (40, 40), (number, 0, 0)).save(path)
    (tmp_path / "a" / "3.png").write_bytes(b"no image")
    recipe = Recipe(dataset=f"folder:{tmp_path}", crop=32, scale=32, batch_size=20, color_statistics="imagenet")
    data = training.load_data(recipe)
    with pytest.warns(UserWarning, match=r"skipped unreadable image .*a/3.png: "):
        batches = [*data.train, *data.validation]
    assert sum(len(labels) for _, labels in batches) == 11
    assert all(np.isfinite(images).all() for images, _ in batches)
    with pytest.raises(InputError, match="missing, which is not a folder"):
        training.load_data(Recipe(dataset="folder:missing"))
