"""Testing protocols on the same images, each in a process of its own, beside a plain loop of `model.predict` over images."""

import dataclasses
import time

from benchmarking.contest import peak_bytes
from keras_vgg import cli


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is tested.

    Attributes:
        arch, crop, width: the net, of random weights, with 1,000 classes.
        paths: the images, in the order in which they are tested.
        scales: Q.
        batch: as for `keras_vgg.evaluate --batch`.
    """

    arch: str
    crop: int
    width: float
    paths: tuple[str, ...]
    scales: tuple[int, ...]
    batch: int


def ours(settings: Settings, protocol: str) -> dict[str, float]:
    """Tests the images by a protocol of ours with flips, from files to posteriors, reading of sizes and tracing included."""
    model = _model(settings)
    import numpy as np

    from keras_vgg.data.split import files
    from keras_vgg.evaluation.batches import survey
    from keras_vgg.evaluation.evaluator import Images, run_pass
    from keras_vgg.evaluation.network import Network
    from keras_vgg.evaluation.results import mean_over
    from keras_vgg.evaluation.store import PassStore
    from keras_vgg.evaluation.views import passes

    network = Network(model)
    split = files(list(settings.paths), np.zeros(len(settings.paths), np.int32))

    def test():
        images = Images(split, survey(split, print), print, print)
        stores = {views: PassStore.in_memory(split.size, network.classes) for views in passes(protocol, settings.scales)}
        for views, store in stores.items():
            run_pass([network], images, views, store, batch=settings.batch)
        return mean_over([store.posteriors for store in stores.values()])

    return _measured(test)


def loop(settings: Settings) -> dict[str, float]:
    """Tests the images densely one by one, each and its mirror image by a call of `model.predict`."""
    model = _model(settings)
    import numpy as np
    import tensorflow as tf

    from keras_vgg import preprocessing
    from keras_vgg.data import images
    from keras_vgg.fully_convolutional import to_fully_convolutional

    dense, preprocess = to_fully_convolutional(model), preprocessing.for_model(model)

    def test():
        found = []
        for path in settings.paths:
            views = []
            for scale in settings.scales:
                encoded = tf.io.read_file(path)
                size = images.rescaled_size(*tf.unstack(images.encoded_size(encoded)), scale)
                image = preprocess(images.decode_whole(encoded, size))[tf.newaxis]
                for view in (image, tf.reverse(image, [2])):
                    views.append(dense.predict(view, verbose=0).mean(axis=(0, 1, 2)))
            found.append(np.mean(views, axis=0))
        return np.stack(found)

    return _measured(test)


def _model(settings: Settings):
    cli.import_tensorflow()
    import keras

    from keras_vgg import preprocessing
    from keras_vgg.models import build_vgg

    keras.utils.set_random_seed(0)
    model = build_vgg(settings.arch, input_shape=(settings.crop, settings.crop, 3), width=settings.width)
    preprocessing.remember(model, preprocessing.TORCH)
    return model


def _measured(test) -> dict[str, float]:
    before, began = peak_bytes(), time.perf_counter()
    posteriors = test()
    return {
        "seconds": time.perf_counter() - began,
        "idle bytes": before,
        "peak bytes": peak_bytes(),
        "posteriors": posteriors,
    }
