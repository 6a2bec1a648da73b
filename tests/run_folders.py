"""What training runs leave of use to other commands."""

import shutil

import keras
from small_images import CLASSES
from small_nets import WANTS, net

from keras_vgg import preprocessing
from keras_vgg.recipe import Recipe, to_toml
from keras_vgg.training import checkpoint


def write_run(folder, *, seed=1, classes=CLASSES, **recipe):
    """Writes what a training run leaves of use to an evaluation."""
    folder.mkdir(parents=True)
    net(classes=len(classes), seed=seed).save(folder / "best.keras")
    preprocessing.attach(folder / "best.keras", WANTS)
    (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    (folder / "recipe.toml").write_text(to_toml(Recipe(arch="A", width=0.05, crop=32, **({"jitter": (36, 44)} | recipe))))
    return folder


def without_flips(run, folder):
    """Copies a run, as if it had been trained without mirror images."""
    shutil.copytree(run, folder)
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace("random_flip = true", "random_flip = false"))
    return folder


def outcome(folder):
    """Everything of a run that must be the same however it was interrupted."""
    arrays, values = checkpoint.load(folder / "state.zip")
    values["position"].pop("seconds")
    models = [keras.saving.load_model(folder / name).get_weights() for name in ("best.keras", "last.keras")]
    return (
        [array.tobytes() for array in arrays],
        values,
        (folder / "log.csv").read_bytes(),
        [w.tobytes() for m in models for w in m],
    )
