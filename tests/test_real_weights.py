"""With the authors' own convolutions and real photographs; skipped where they are not on the disk."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from first_convolutions import made_to_take

from keras_vgg import applications, preprocessing
from keras_vgg.weights import first_layer

SHARED = pathlib.Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "vgg16_notop_keras.h5"
IMAGES = SHARED / "data" / "imagenette_mini"
TRAIN, TEST = 3, 3  # images of each class

pytestmark = pytest.mark.skipif(not (WEIGHTS.exists() and IMAGES.exists()), reason="needs real weights and images")


@pytest.fixture(scope="module")
def model():
    return applications.VGG16(weights=WEIGHTS, include_top=False, pooling="avg")


def images(split, count):
    folders = sorted((IMAGES / split).iterdir())
    paths = [path for folder in folders for path in sorted(folder.iterdir())[:count]]
    decoded = [tf.image.decode_jpeg(tf.io.read_file(str(path)), channels=3).numpy() for path in paths]
    return np.stack(decoded), np.repeat(np.arange(len(folders)), count)


def nearest_class_means(model, preprocess):
    """Tells test images by the class mean that their normalised features lie nearest to.

    Returns:
        The share that is right, and by how much the own class' mean is nearer than the next best, on average.
    """

    def features(pixels):
        values = model.predict(preprocess(pixels), batch_size=15, verbose=0)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    (train, train_labels), (test, test_labels) = images("train", TRAIN), images("val", TEST)
    learned, asked = features(train), features(test)
    means = np.stack([learned[train_labels == label].mean(axis=0) for label in np.unique(train_labels)])
    distances = np.sum((asked[:, None] - means[None]) ** 2, axis=-1)
    is_own = np.arange(len(means)) == test_labels[:, None]
    margins = np.where(is_own, np.inf, distances).min(axis=1) - distances[is_own]
    return np.mean(margins > 0), np.mean(margins)


def test_features_tell_classes_apart_and_better_in_the_right_colours(model):
    wanted = preprocessing.for_model(model)
    assert wanted == preprocessing.CAFFE
    accuracy, margin = nearest_class_means(model, wanted)
    _, margin_in_wrong_colours = nearest_class_means(model, preprocessing.Preprocessing(wanted.mean, bgr=False))
    assert accuracy > 0.85  # above 0.9 with all 3,000 training images
    assert margin_in_wrong_colours < 0.85 * margin


@pytest.mark.parametrize("bgr", [True, False])
@pytest.mark.parametrize("convention", first_layer._CONVENTIONS)
def test_first_layer_tells_what_it_was_made_to_take(model, convention, bgr):
    wants = preprocessing.Preprocessing(convention.mean, convention.std, bgr)
    kernel, bias = made_to_take(wants, *map(np.float64, model.get_layer("block1_conv1").get_weights()))
    assert first_layer.recognise(kernel, bias) == wants
    assert first_layer.is_turned(kernel) is False
    assert first_layer.is_turned(kernel[::-1, ::-1]) is True


def test_same_features_as_keras_applications(model):
    theirs = keras.applications.VGG16(weights=str(WEIGHTS), include_top=False, pooling="avg")
    pixels, _ = images("val", 1)
    expected = theirs.predict(keras.applications.vgg16.preprocess_input(pixels.astype("float32")), verbose=0)
    found = model.predict(preprocessing.for_model(model)(pixels), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
