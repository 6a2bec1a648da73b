"""Narrow localisers as training leaves them, whose boxes differ from image to image, place to place and class to class."""

import numpy as np
from small_images import CLASSES
from small_nets import WANTS, net

from keras_vgg import preprocessing
from keras_vgg.recipe import Recipe, to_toml
from keras_vgg.weights.saving import save_model


def localiser(regression="pcr", *, classes=CLASSES, seed=5):
    """A net whose boxes lie around the middle of a view, half as large."""
    units = 4 * (len(classes) if regression == "pcr" else 1)
    model = net(classes=units, classifier_activation=None, seed=seed)
    head, random = model.get_layer("predictions"), np.random.default_rng(seed)
    shape = head.kernel.shape
    head.kernel.assign(random.normal(size=shape) * 0.3 / np.sqrt(shape[0]))
    head.bias.assign(np.tile([0.5, 0.5, 0.5, 0.5], units // 4) + random.uniform(-0.1, 0.1, units))
    preprocessing.remember(model, WANTS)
    return model


def write_localiser(folder, regression="pcr", *, classes=CLASSES, seed=5):
    """Writes what a training run leaves of use to others; its S is 40."""
    folder.mkdir(parents=True)
    save_model(localiser(regression, classes=classes, seed=seed), folder / "best.keras", classes=classes, regression=regression)
    (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    recipe = Recipe(arch="A", width=0.05, crop=32, scale=40, task="localisation", regression=regression)
    (folder / "recipe.toml").write_text(to_toml(recipe))
    return folder
