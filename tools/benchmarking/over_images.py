"""Work from image files to a vector for each: ours, and plain loops over the images; each in a process of its own."""

import collections
import dataclasses
import pathlib
import tempfile
import time

import numpy as np

from benchmarking.contest import peak_bytes
from keras_vgg.precision import FLOAT32
from keras_vgg.support import entry

POSTERIORS = "predictions"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The task of all contestants.

    Attributes:
        arch, crop, width: the net, with random weights and 1,000 classes.
        paths: the images, in the order in which they are seen.
        scales: Q.
        batch: as for `keras_vgg.evaluate --batch`.
        layer: layer whose activations are averaged over positions, mirror images and scales; `"predictions"` yields posteriors.
        precision: Keras' dtype policy of the net.
    """

    arch: str
    crop: int
    width: float
    paths: tuple[str, ...]
    scales: tuple[int, ...]
    batch: int
    layer: str = POSTERIORS
    precision: str = FLOAT32


def batch_shapes(settings: Settings, protocol: str) -> dict[tuple[int, int, int, int], int]:
    """Returns how often our net sees a batch of each shape `(B, height, width, 3)` in a protocol, flips included."""
    entry.import_tensorflow()
    from keras_vgg.inference import batches
    from keras_vgg.inference.images import look_through
    from keras_vgg.inference.views import DENSE, GRID, passes

    split, crop = _split(settings), settings.crop
    survey, shapes = look_through(split)[0].survey, collections.Counter[tuple[int, int, int, int]]()
    for views in passes(protocol, settings.scales):
        sizes = batches.rescaled_sizes(survey.sizes, views.scale)
        everything = np.ones(split.size, bool)
        for batch in batches.group(survey, views, crop, settings.batch * crop * crop, everything):
            seen = 2 * len(batch)
            if views.kind == DENSE:
                height, width = map(int, sizes[batch[0]])
                shapes[seen, height, width, 3] += 1
            else:
                shapes[GRID * seen, crop, crop, 3] += GRID  # a row of the grid at a time
    return shapes


def evaluate(settings: Settings, protocol: str) -> dict:
    """Tests the images with one of our protocols with flips, from files to posteriors, including reading of sizes and tracing."""
    model = _model(settings)
    from keras_vgg.evaluation.prediction import predict
    from keras_vgg.inference.network import Network
    from keras_vgg.inference.views import passes

    network = Network(model)
    views = passes(protocol, settings.scales)
    return measured(lambda: predict(network, settings.paths, views, batch=settings.batch).posteriors)


def extract(settings: Settings) -> dict:
    """Extracts descriptors with flips, from files to rows on disk, including loading of the net."""
    model = _model(settings)

    from keras_vgg.descriptors import extraction
    from keras_vgg.descriptors.descriptor import DescriptorProtocol

    protocol = DescriptorProtocol(settings.layer, settings.scales, flip=True, normalize=False, precision=settings.precision)
    split = _split(settings)
    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder, "net.keras"))
        source = extraction.open_feature_source(f"{folder}/net.keras", preprocessing="torch")

        def rows():
            work = pathlib.Path(folder)
            return extraction.extract(split, [source], protocol, work, batch=settings.batch, say=lambda line: None).values

        return measured(rows)


def predict_loop(settings: Settings) -> dict:
    """Sees the images one by one, each and its mirror image in a call of `model.predict`, as tutorials do."""
    return _loop(settings, lambda net: lambda view: net.predict(view, verbose=0))


def function_loop(settings: Settings) -> dict:
    """Sees the images one by one in a `tf.function` that is traced once for all shapes: the best that a loop can do."""

    def compiled(net):
        import tensorflow as tf

        call = tf.function(lambda view: net(view, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
        return lambda view: call(view).numpy()

    return _loop(settings, compiled)


def _loop(settings: Settings, callable_of) -> dict:
    model = _model(settings)
    import tensorflow as tf

    from keras_vgg import preprocessing
    from keras_vgg.data import images
    from keras_vgg.fully_convolutional import to_fully_convolutional
    from keras_vgg.inference.tracing import up_to_layer

    see, preprocess = callable_of(up_to_layer(to_fully_convolutional(model), settings.layer)), preprocessing.for_model(model)

    def row_of(path):
        encoded, rows = tf.io.read_file(path), []
        for scale in settings.scales:
            height, width = tf.unstack(images.encoded_size(encoded))
            size = images.rescaled_size(height, width, scale)
            image = preprocess(images.decode_whole(encoded, size))[tf.newaxis]
            rows += [see(view).mean(axis=(0, 1, 2), dtype=np.float32) for view in (image, tf.reverse(image, [2]))]
        return np.mean(rows, axis=0)

    return measured(lambda: np.stack([row_of(path) for path in settings.paths]))


def write_torch(settings: Settings, path: pathlib.Path) -> None:
    """Writes the weights of the contestants' common net in torchvision's format."""
    model = _model(settings)
    from keras_vgg.weights import saving, weight_file

    with tempfile.TemporaryDirectory() as folder:
        saving.save_model(model, f"{folder}/net.weights.h5")
        saving.save_weights(weight_file.open_weights(f"{folder}/net.weights.h5"), path)


def _split(settings: Settings):
    from keras_vgg.data.split import files

    return files(list(settings.paths), np.zeros(len(settings.paths), np.int32))


def _model(settings: Settings):
    entry.import_tensorflow()
    import keras

    from keras_vgg import preprocessing
    from keras_vgg.models import build_vgg

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(settings.precision)
    model = build_vgg(settings.arch, input_shape=(settings.crop, settings.crop, 3), width=settings.width)
    preprocessing.remember(model, preprocessing.TORCH)
    return model


def measured(work) -> dict:
    """Returns the result of `work()` as `rows`, the seconds that it takes, and memory before it and at its peak."""
    before, began = peak_bytes(), time.perf_counter()
    rows = work()
    measured = {"seconds": time.perf_counter() - began, "idle bytes": before, "peak bytes": peak_bytes()}
    return measured | {"rows": np.array(rows)}  # a mapped file is read only now
