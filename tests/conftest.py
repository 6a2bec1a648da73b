"""What holds for all tests: four logical CPU devices, Ctrl-C that is heard, and the longest files first."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # it would start threads in what tests fork, which ended some by SIGABRT

import tensorflow as tf

# So that replicas can be tested in one process.
_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_cpu, [tf.config.LogicalDeviceConfiguration()] * 4)

# A shell's background job, as the tests may be, ignores Ctrl-C, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_LONGEST = ("test_fit.py", "test_saved_model.py", "test_served_export.py", "test_training_step.py", "test_multi_worker.py")


def pytest_collection_modifyitems(items):
    """Has the longest files begun first, so that at the end no worker is left with one of them (with --no-loadscope-reorder)."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))  # stable: within a file the order stays
