"""Which devices and which communication a run gets. That workers train together is in test_multi_worker.py."""

import json
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.training.cluster import communication_options, make_cluster

Implementation = tf.distribute.experimental.CommunicationImplementation


@pytest.mark.parametrize(
    ("communication", "has_gpus", "expected"),
    [
        ("auto", True, Implementation.NCCL),  # TensorFlow's own AUTO would be a ring
        ("auto", False, Implementation.RING),
        ("ring", True, Implementation.RING),
        ("nccl", True, Implementation.NCCL),
    ],
)
def test_gpus_communicate_by_nccl_unless_told_otherwise(communication, has_gpus, expected):
    assert communication_options(communication, has_gpus).implementation is expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("multi-worker", 2), r"`replicas` must be 1 for the strategy multi-worker on a machine without GPUs\. Received: 2; start"),
        (("multi-worker", 1, "nccl"), "`communication` nccl requires GPUs on every machine"),
        (("mirrored", 2, "ring"), "`communication` must be auto except with several workers. Received: ring, strategy mirrored"),
        (("auto", None, "nccl"), "`communication` must be auto except with several workers. Received: nccl, strategy one-device"),
    ],
)
def test_what_cannot_be_had_is_told(arguments, told):
    with pytest.raises(InputError, match=told):
        make_cluster(*arguments)


@pytest.mark.slow
def test_options_arrive_at_the_strategy():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = (
        "from keras_vgg.training.cluster import make_cluster\n"
        "made = make_cluster(communication='ring')\n"
        "print(made.strategy.extended._communication_options.implementation, made.communication, made.addresses, made.is_alone)"
    )
    environment = {"TF_CONFIG": json.dumps({"cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}})}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert told.stdout.splitlines()[-1] == f"CommunicationImplementation.RING ring ('{address}',) True", told.stderr
