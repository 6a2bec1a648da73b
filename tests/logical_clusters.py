"""Replicas on the logical CPU devices that conftest.py makes."""

import tensorflow as tf

from keras_vgg.training.cluster import Cluster


def make_cluster(replicas):
    devices = [f"CPU:{i}" for i in range(replicas)]
    if replicas == 1:
        return Cluster(tf.distribute.OneDeviceStrategy(devices[0]), range(1), True, "")
    strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    return Cluster(strategy, range(replicas), True, "")
