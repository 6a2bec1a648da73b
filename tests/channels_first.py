"""Whether TensorFlow computes convolutions with channels first here: on CPUs it does by oneDNN alone."""

import pytest
import tensorflow as tf


def require():
    """Skips a test where it does not, as on CPUs without AVX-512, where oneDNN is off unless `TF_ENABLE_ONEDNN_OPTS=1`."""
    try:
        tf.nn.conv2d(tf.zeros((1, 3, 8, 8)), tf.zeros((3, 3, 3, 4)), 1, "SAME", data_format="NCHW")
    except tf.errors.UnimplementedError:
        pytest.skip("TensorFlow computes no convolutions with channels first on this CPU; set TF_ENABLE_ONEDNN_OPTS=1")
