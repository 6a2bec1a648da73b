"""From `--strategy` and the machine to a `tf.distribute.Strategy`.

Must run before anything else touches TensorFlow's devices.
"""

import dataclasses
import json
import os

import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.training import slurm, waiting
from keras_vgg.training.workers import scheduler


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where training runs.

    Attributes:
        strategy: the strategy, every replica a device.
        my_replicas: this worker's replicas among all of them.
        is_chief: whether this worker writes the run folder.
        description: one line for people.
    """

    strategy: tf.distribute.Strategy
    my_replicas: range
    is_chief: bool
    description: str

    @property
    def replicas(self) -> int:
        """Replicas over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_alone(self) -> bool:
        """Whether this is the only worker."""
        return len(self.my_replicas) == self.replicas


def make_cluster(strategy: str = "auto", replicas: int | None = None) -> Cluster:
    """Returns the cluster that `strategy` names.

    Args:
        strategy: `one-device`; `mirrored` for all devices of this machine; `multi-worker` for the machines of `TF_CONFIG` or of
            a Slurm step; `auto` for the largest of these that the surroundings offer.
        replicas: devices to use on this machine: GPUs, or logical CPU devices where there is no GPU.

    Raises:
        InputError: if the surroundings do not offer what is asked for.
    """
    gpus = tf.config.list_physical_devices("GPU")
    surroundings = scheduler()
    if strategy == "auto":
        many = (replicas or len(gpus)) > 1
        strategy = "multi-worker" if surroundings else "mirrored" if many else "one-device"
    if strategy == "one-device" and (replicas or 1) > 1:
        raise InputError(f"`strategy` one-device has one replica; for more use mirrored. Received: replicas={replicas}.")
    devices = _devices(gpus, replicas, 1 if strategy == "one-device" else len(gpus) or 1)
    if strategy == "multi-worker":
        return _multi_worker(surroundings)
    if strategy == "mirrored":
        # On CPUs there is nothing faster than adding up in one place, and the order of the sum is fixed.
        made = tf.distribute.MirroredStrategy(devices, None if gpus else tf.distribute.ReductionToOneDevice())
    else:
        made = tf.distribute.OneDeviceStrategy(devices[0])
    return Cluster(made, range(len(devices)), True, f"{strategy}, {len(devices)} x {devices[0].split(':')[0]}")


def _devices(gpus, replicas: int | None, default: int) -> list[str]:
    """Makes just the devices wanted visible to TensorFlow and returns their names."""
    number = replicas or default
    if gpus:
        if number > len(gpus):
            raise InputError(f"`replicas` must be at most the number of GPUs, {len(gpus)}. Received: {replicas}.")
        tf.config.set_visible_devices(gpus[:number], "GPU")
        for gpu in gpus[:number]:
            tf.config.experimental.set_memory_growth(gpu, True)
        return [f"GPU:{i}" for i in range(number)]
    if number > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        current = tf.config.get_logical_device_configuration(cpu) or [None]
        if len(current) < number:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
    return [f"CPU:{i}" for i in range(number)]


def _multi_worker(surroundings: str | None) -> Cluster:
    if surroundings == "TF_CONFIG":
        try:
            task = json.loads(os.environ["TF_CONFIG"])
            jobs = {job: len(task["cluster"].get(job, [])) for job in ("chief", "worker")}
            index, kind = int(task["task"]["index"]), task["task"]["type"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                'TF_CONFIG must be JSON like {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}. '
                f"Received: {os.environ['TF_CONFIG']!r} ({error!r})."
            ) from error
        if not 0 <= index < jobs.get(kind, 0):
            there = " and ".join(f"{number} of type {job}" for job, number in jobs.items())
            raise InputError(
                f"The task of TF_CONFIG must be one of its cluster, counted from 0. Received: type {kind!r}, index {index}; "
                f"there are {there}."
            )
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        workers = sum(jobs.values())
        if kind == "worker":
            index += jobs["chief"]
    elif surroundings == "SLURM":
        every, index = slurm.addresses(os.environ)
        workers = len(every)
        # Which GPUs a task sees is Slurm's to say (--gpus-per-task).
        gpus = len(tf.config.get_visible_devices("GPU"))
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": every}),
            task_type="worker",
            task_id=index,
            rpc_layer="grpc",
            num_accelerators={"GPU": gpus} if gpus else {},
        )
    else:
        raise InputError("`strategy` multi-worker needs TF_CONFIG, or a Slurm step of several tasks (srun). Received: neither.")
    spec = resolver.cluster_spec().as_dict()
    waiting.meet([*spec.get("chief", []), *spec.get("worker", [])], index)
    made = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    local = made.num_replicas_in_sync // workers
    return Cluster(
        made,
        range(index * local, (index + 1) * local),
        index == 0,
        f"multi-worker, worker {index + 1} of {workers}, {local} replicas each ({surroundings})",
    )
