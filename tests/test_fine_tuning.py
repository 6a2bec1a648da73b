"""What `fit` chooses where a net goes on from weights of other classes: by the number of images, and never against a flag."""

import math

import pandas as pd
import pytest
from boxed_images import write_boxed

from keras_vgg import configs, fit, preprocessing
from keras_vgg.fine_tuning import choices, left_open
from keras_vgg.models import build_vgg
from keras_vgg.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "colors_measured_once")


@pytest.mark.parametrize(
    ("images", "epochs", "frozen"),
    [
        *((20, 30, "block1-block4"), (1088, 14, "block1-block4"), (2_999, 5, "block1-block4")),
        *((3_000, 5, "block1-block3"), (50_000, 3, "block1-block2"), (1_281_167, 3, None)),
    ],
)
def test_the_fewer_images_the_more_is_kept_and_the_longer_it_takes(images, epochs, frozen):
    chosen = {choice.field: choice.value for choice in choices(images)}
    assert (chosen["epochs"], chosen.get("freeze"), chosen["head"]) == (epochs, frozen, "pool")


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        ({}, set()),
        ({"epochs": 3, "head": "fc"}, {"epochs", "head"}),
        ({"scale": 256}, {"jitter"}),
        ({"crop": 64}, {"jitter"}),
        ({"schedule": "plateau"}, {"schedule", "epochs"}),
        ({"patience": 3}, {"schedule"}),
        ({"dataset": "digits", "seed": 1}, set()),
    ],
)
def test_nothing_is_chosen_against_what_is_given(given, gone):
    every = choices(100)
    assert {choice.field for choice in every} - {choice.field for choice in left_open(every, given)} == gone


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A net of convolutions alone, one of the digits' classes, and one of seven others."""
    folder = tmp_path_factory.mktemp("sources")
    options = {"input_shape": (32, 32, 3), "width": 0.05, "initializer": "he"}
    for name, more in (("bare", {"include_top": False}), ("ten", {"classes": 10}), ("seven", {"classes": 7})):
        build_vgg("B", **options, **more).save(folder / f"{name}.keras")
        preprocessing.attach(folder / f"{name}.keras", preprocessing.TORCH)
    return folder


DIGITS = ["--crop", "32", "--scale", "32", "--no-jit", "--limit-images", "64", "--epochs", "1"]


@pytest.mark.parametrize("name", ["bare", "seven"])
def test_weights_of_other_classes_are_fine_tuned(sources, tmp_path, capsys, name):
    folder = tmp_path / "run"
    arguments = ["--init-from", str(sources / f"{name}.keras"), *DIGITS, "--workdir", str(folder)]
    assert fit.main(arguments) is None
    said = capsys.readouterr().out
    for field in ("head pool", "freeze block1-block4", "learning_rate 0.001", "schedule cosine"):
        assert f"chosen: {field}: " in said
    assert "chosen: epochs" not in said  # which was given
    begun = RunFolder(folder).experiment()
    assert (begun["arch"], begun["init"], begun["batch_size"]) == ("B-pool", "gaussian", 32)
    assert configs.scaled_width(64, begun["width"]) == 3
    # The new layer begins near zero: the first update is no worse than a guess.
    assert pd.read_csv(folder / "log.csv").loss[0] < 1.2 * math.log(10)
    # Its own command goes on with it, whatever would be chosen by then.
    assert fit.main(arguments) is None
    assert "contains a finished run" in capsys.readouterr().out


def test_convolutions_alone_become_a_localiser(sources, tmp_path, capsys):
    listing = write_boxed(tmp_path / "boxed", train=16, val=4)
    arguments = ["--task", "localisation", "--init-from", str(sources / "bare.keras"), "--dataset", f"csv:{listing}", *DIGITS]
    assert fit.main([*arguments, "--workdir", str(tmp_path / "run")]) is None
    said = capsys.readouterr().out
    for field in ("tune fc", "init gaussian", "dropout 0.0", "batch_size 16", "clip_norm 1.0"):
        assert f"chosen: {field}: " in said
    begun = RunFolder(tmp_path / "run").experiment()
    assert (begun["arch"], begun["freeze"], begun["regression"]) == ("B", "convolutions", "pcr")


def test_weights_of_the_same_classes_go_on_as_in_the_paper(sources, tmp_path, capsys):
    folder = tmp_path / "run"
    fit.main(["--init-from", str(sources / "ten.keras"), *DIGITS, "--batch-size", "64", "--workdir", str(folder)])
    assert "chosen" not in capsys.readouterr().out
    begun = RunFolder(folder).experiment()
    assert (begun["arch"], begun["schedule"], begun["learning_rate"]) == ("B", "plateau", 0.01)


def test_a_recipe_says_it_all(sources, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'init_from = "{sources / "bare.keras"}"\ndropout = 0.0\n')
    fit.main(["--recipe", str(recipe), *DIGITS, "--batch-size", "64", "--workdir", str(tmp_path / "run")])
    assert "chosen" not in capsys.readouterr().out
    assert RunFolder(tmp_path / "run").experiment()["arch"] == "B"  # the net is that of the weights even so
    recipe.write_text('init_from = "moved.keras"\ndropout = 0.0\n')  # which a run that goes on needs no more
    fit.main(["--recipe", str(recipe), *DIGITS, "--batch-size", "64", "--workdir", str(tmp_path / "run")])
    assert "contains a finished run" in capsys.readouterr().out
