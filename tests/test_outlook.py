"""A long run says before its first update how long it takes, and what else would be quicker or was meant."""

import re

import keras
import pytest
from logical_clusters import make_cluster

from keras_vgg import configs, training
from keras_vgg.precision import PRECISIONS
from keras_vgg.recipe import Recipe, read_recipe, resolve
from keras_vgg.support.progress import duration
from keras_vgg.training import outlook
from keras_vgg.training.freezing import frozen_layers

LONG = Recipe(arch="D", jitter=(256, 512), random_flip=False, color=False)
LINE = re.compile(r"expect about (\S+) for (\d+) epochs on this machine, whose matrix products reach ([\d.,]+) G multiply-adds/s")


def told(recipe, images=(1437, 360), epochs=None, replicas=1):
    lines = []
    frozen = frozen_layers(recipe.arch, recipe.freeze)
    work = outlook.work_of(recipe, 10, images, epochs or recipe.epochs, frozen)
    outlook.tell(recipe, work, make_cluster(replicas), lines.append)
    return lines


def test_days_on_the_digits_is_said_with_the_words_for_imagenet():
    line, warning = told(LONG, (1437_000, 360_000))
    expected, epochs, rate = LINE.match(line).groups()
    assert epochs == "74"
    assert line.endswith("the plateau schedule may end the run earlier")
    # 15.5 G forward; back, twice as many, but for the gradient of the image.
    seconds = 74 * (1437e3 * 46.2e9 + 360e3 * 15.4e9) / (float(rate.replace(",", "")) * 1e9)
    assert expected == duration(seconds) or abs(in_seconds(expected) / seconds - 1) < 0.02
    assert warning.startswith("Warning: these images are digits of 8x8 pixels, enlarged to crops of 224x224")
    assert "--dataset tfds:imagenet2012 " in warning
    assert "--recipe quickstart " in warning


def in_seconds(text):
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def test_other_images_draw_no_warning_and_other_schedules_end_when_they_should():
    (line,) = told(resolve({"arch": "D", "dataset": "folder:flowers", "schedule": "cosine"}), (1437_000, 360_000))
    assert LINE.match(line)
    assert "plateau" not in line


@pytest.mark.parametrize(("recipe", "images"), [(resolve(read_recipe("quickstart")), (1437, 360)), (LONG, (4, 4)), (LONG, (60, 4))])
def test_short_runs_are_silent(recipe, images):
    assert told(recipe, images, epochs=1) == []


def test_what_is_frozen_is_not_computed_back():
    facts = {layer.name: layer.multiply_adds for layer in configs.layer_facts("A", classes=10) if layer.parameters}
    everything, last = sum(facts.values()), facts["predictions"]
    recipe = Recipe(arch="A")
    assert outlook.multiply_adds(recipe, 10, ()) == (everything, 3 * everything - facts["block1_conv1"])
    assert outlook.multiply_adds(recipe, 10, [name for name in facts if name != "predictions"]) == (everything, everything + last)
    from_fc1 = [name for name in facts if name.startswith("block")]
    trained = facts["fc1"] + facts["fc2"] + last
    assert outlook.multiply_adds(recipe, 10, from_fc1) == (everything, everything + 2 * trained - facts["fc1"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_speed_is_measured_in_the_precision_of_the_run(precision):
    assert 1e7 < outlook.multiply_adds_per_second(precision, make_cluster(1)) < 1e15


class BeforeTheFirstUpdate(BaseException):
    pass


class Ends(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise BeforeTheFirstUpdate


@pytest.mark.usefixtures("colors_measured_once")
def test_a_run_says_so_before_its_first_update(tmp_path, capsys):
    with pytest.raises(BeforeTheFirstUpdate):
        training.fit(Recipe(arch="D", head="pool", color=False, epochs=10**5), workdir=tmp_path / "run", callbacks=[Ends()])
    said = capsys.readouterr().out
    assert LINE.search(said)
    assert "Warning: these images are digits of 8x8 pixels" in said
