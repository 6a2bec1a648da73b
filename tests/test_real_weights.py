"""With the authors' own convolutions and real photographs; skipped where they are not on the disk."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vgg import applications, preprocessing

SHARED = pathlib.Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "vgg16_notop_keras.h5"
IMAGES = SHARED / "data" / "imagenette_mini"
TRAIN, TEST = 10, 10  # images of each class

pytestmark = pytest.mark.skipif(not (WEIGHTS.exists() and IMAGES.exists()), reason="needs real weights and images")


@pytest.fixture(scope="module")
def model():
    return applications.VGG16(weights=WEIGHTS, include_top=False, pooling="avg")


def images(split, count):
    folders = sorted((IMAGES / split).iterdir())
    paths = [path for folder in folders for path in sorted(folder.iterdir())[:count]]
    decoded = [tf.image.decode_jpeg(tf.io.read_file(str(path)), channels=3).numpy() for path in paths]
    return np.stack(decoded), np.repeat(np.arange(len(folders)), count)


def accuracy_of_nearest_class_mean(model, preprocess):
    """Share of test images whose normalised features lie nearest to the mean of their own class."""

    def features(pixels):
        values = model.predict(preprocess(pixels), batch_size=25, verbose=0)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    (train, train_labels), (test, test_labels) = images("train", TRAIN), images("val", TEST)
    learned, asked = features(train), features(test)
    means = np.stack([learned[train_labels == label].mean(axis=0) for label in np.unique(train_labels)])
    distances = np.sum((asked[:, None] - means[None]) ** 2, axis=-1)
    return np.mean(np.argmin(distances, axis=1) == test_labels)


def test_features_tell_classes_apart_and_better_in_the_right_colours(model):
    wanted = preprocessing.for_model(model)
    assert wanted == preprocessing.CAFFE
    right = accuracy_of_nearest_class_mean(model, wanted)
    wrong = accuracy_of_nearest_class_mean(model, preprocessing.Preprocessing(wanted.mean, bgr=False))
    assert right > 0.85  # above 0.9 with all 3,000 training images
    assert wrong < right


def test_same_features_as_keras_applications(model):
    theirs = keras.applications.VGG16(weights=str(WEIGHTS), include_top=False, pooling="avg")
    pixels, _ = images("val", 1)
    expected = theirs.predict(keras.applications.vgg16.preprocess_input(pixels.astype("float32")), verbose=0)
    found = model.predict(preprocessing.for_model(model)(pixels), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
