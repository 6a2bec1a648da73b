"""What holds for all tests: Ctrl-C that is heard, four logical CPU devices once TensorFlow comes, and the longest files first.

It imports no TensorFlow, which takes seconds: tests that need none do not wait for it.
"""

import gc
import importlib.abc
import importlib.machinery
import os
import signal
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # it would start threads in what tests fork, which ended some by SIGABRT

gc.set_threshold(50_000)  # of the many objects that tracing makes, few are garbage: looking for it took a twentieth of the time

# A shell's background job, as the tests may be, ignores Ctrl-C, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class _ConfiguredTensorFlow(importlib.abc.MetaPathFinder):
    """Has TensorFlow configured when it is first imported, whoever imports it: devices cannot be changed once one was used."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_configure(module):
                execute(module)
                _make_logical_devices(module)

            spec.loader.exec_module = execute_and_configure
        return spec


def _make_logical_devices(tf):
    """So that replicas can be tested in one process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)


if "tensorflow" in sys.modules:  # some plugin's doing
    _make_logical_devices(sys.modules["tensorflow"])
else:
    sys.meta_path.insert(0, _ConfiguredTensorFlow())


@pytest.fixture(scope="module", autouse=True)
def _nets_go_with_their_tests():
    """Frees the nets of a file, which only the garbage collector finds: those of full size have half a gigabyte each."""
    yield
    gc.collect()


_LONGEST = (
    *("test_fit.py", "test_training_step.py", "test_evaluation.py", "test_extract.py", "test_applications.py"),
    *("test_saved_model.py", "test_convert.py", "test_transfer_eval.py", "test_identity.py", "test_damaged_files.py"),
    *("test_notebooks.py", "test_reproduction_workflow.py", "test_distances.py", "test_benchmark.py", "test_localise.py"),
    *("test_precision.py", "test_loss_scale.py", "test_page_blocks.py", "test_localisation_task.py", "test_pipeline.py"),
    *("test_stress.py", "test_multi_worker.py", "test_export.py", "test_another_net.py", "test_weight_file.py"),
)


def pytest_collection_modifyitems(items):
    """Has the longest files begun first, so that at the end no worker is left with one of them (with --no-loadscope-reorder)."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))  # stable: within a file the order stays


# Making and improving graphs takes most of the time of small runs. Files that have many of them ask for these fixtures with
# `pytestmark = pytest.mark.usefixtures(...)`.


@pytest.fixture(scope="module")
def graphs_as_traced():
    """Spares the time in which Grappler improves graphs that run once or twice; where numbers are tested, it stays on."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def colors_measured_once():
    """Measures the colours of the same images once."""
    from keras_vgg.data import color

    measure, measured = color.measure, {}

    def measure_once(split, **options):
        key = *map(split.name_of, range(split.size)), *sorted(options.items())
        if key not in measured:
            measured[key] = measure(split, **options)
        return measured[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(color, "measure", measure_once)
        yield


@pytest.fixture(scope="module")
def images_surveyed_once():
    """Looks through the same images once, told by their bytes and labels."""
    import tensorflow as tf

    from keras_vgg.inference import images
    from keras_vgg.linear import data

    survey, known = images.survey, {}

    def content(split, index):
        try:
            encoded, label = split.read(tf.constant(index, tf.int64))
        except (tf.errors.OpError, ValueError):  # as of a file that is gone, or a box that cannot be used
            return None
        return encoded.numpy(), label.numpy().tobytes()

    def survey_once(split, **options):
        key = tuple(content(split, index) for index in range(split.size))
        if key not in known:
            known[key] = survey(split, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (images, data):
            patch.setattr(module, "survey", survey_once)
        yield


@pytest.fixture(scope="module")
def nets_loaded_once():
    """Loads a net of the same file once."""
    import hashlib

    from keras_vgg.inference.net_files import NetFile

    loaded = {}

    def once(load):
        def load_once(self, **options):
            file = hashlib.sha256(self.file.read_bytes()).hexdigest()
            key = load.__name__, file, self.preprocessing, *sorted(options.items())
            if key not in loaded:
                loaded[key] = load(self, **options)
            return loaded[key]

        return load_once

    with pytest.MonkeyPatch.context() as patch:
        for load in (NetFile.load, NetFile.load_localiser):
            patch.setattr(NetFile, load.__name__, once(load))
        yield


@pytest.fixture(scope="module")
def layers_loaded_once():
    """Loads a net for the same layer once."""
    import hashlib

    from keras_vgg.descriptors import network

    load, loaded, defaults = network.load, {}, {"dense": True, "pooling": "floor", "device": None, "precision": "float32"}

    def load_once(source, layer, **options):
        file = hashlib.sha256(source.file.read_bytes()).hexdigest()
        key = file, source.preprocessing, source.name, layer, *sorted((defaults | options).items())
        if key not in loaded:
            loaded[key] = load(source, layer, **options)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load", load_once)
        yield
