"""Chooses a `tf.distribute.Strategy` from `--strategy` and the machine.

Must run before anything else touches TensorFlow's devices.
"""

import dataclasses
import json
import os

import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.recipe_bounds import AUTO, NCCL, RING
from keras_vgg.support.counts import counted
from keras_vgg.training import slurm, waiting
from keras_vgg.training.workers import scheduler


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The devices and workers of a training run.

    Attributes:
        strategy: the strategy; every replica is a device.
        my_replicas: this worker's range among all replicas.
        is_chief: whether this worker writes the run folder.
        description: one-line description.
        addresses: `host:port` of every worker, in order; empty without TensorFlow's multi-worker strategy.
        communication: how workers sum: `ring`, `nccl` or, without TensorFlow's multi-worker strategy, `none`.
    """

    strategy: tf.distribute.Strategy
    my_replicas: range
    is_chief: bool
    description: str
    addresses: tuple[str, ...] = ()
    communication: str = "none"

    @property
    def replicas(self) -> int:
        """Number of replicas over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def device_type(self) -> str:
        """`"CPU"` or `"GPU"`: all replicas are of one type."""
        return tf.DeviceSpec.from_string(self.strategy.extended.worker_devices[0]).device_type

    @property
    def has_gpus(self) -> bool:
        """Whether replicas are GPUs."""
        return self.device_type == "GPU"

    @property
    def is_alone(self) -> bool:
        """Whether this is the only worker."""
        return len(self.my_replicas) == self.replicas


def make_cluster(strategy: str = AUTO, replicas: int | None = None, communication: str = AUTO) -> Cluster:
    """Returns the cluster for `strategy`.

    Args:
        strategy: `one-device`; `mirrored` for all devices of this machine; `multi-worker` for the machines of `TF_CONFIG` or of
            a Slurm step; `auto` for the largest of these that the environment supports.
        replicas: devices to use on this machine: GPUs, or logical CPU devices if there is no GPU.
        communication: how several workers sum gradients: `ring`, TensorFlow's own, over gRPC; `nccl`, NVIDIA's, between GPUs;
            `auto` for NCCL if this machine has GPUs. All workers must choose the same.

    Raises:
        InputError: if the environment does not support the request.
    """
    gpus = tf.config.list_physical_devices("GPU")
    surroundings = scheduler()
    if strategy == AUTO:
        many = (replicas or len(gpus)) > 1
        strategy = "multi-worker" if surroundings else "mirrored" if many else "one-device"
    if strategy == "one-device" and (replicas or 1) > 1:
        raise InputError(f"`replicas` must be 1 for the strategy one-device. Received: {replicas}; use mirrored for more.")
    if strategy != "multi-worker" and communication != AUTO:
        raise InputError(
            f"`communication` must be auto except with several workers. Received: {communication}, strategy {strategy}."
        )
    if strategy == "multi-worker" and not gpus and (replicas or 1) > 1:
        raise InputError(
            f"`replicas` must be 1 for the strategy multi-worker on a machine without GPUs. Received: {replicas}; start more "
            "workers instead."
        )
    devices = _devices(gpus, replicas, 1 if strategy == "one-device" else len(gpus) or 1)
    if strategy == "multi-worker":
        return _multi_worker(surroundings, communication_options(communication, bool(gpus)))
    if strategy == "mirrored":
        # On CPUs summing on one device is fastest, and it fixes the order of the sum.
        made = tf.distribute.MirroredStrategy(devices, None if gpus else tf.distribute.ReductionToOneDevice())
    else:
        made = tf.distribute.OneDeviceStrategy(devices[0])
    return Cluster(made, range(len(devices)), True, f"{strategy}, {len(devices)} x {devices[0].split(':')[0]}")


def _devices(gpus, replicas: int | None, default: int) -> list[str]:
    """Makes only the requested devices visible to TensorFlow and returns their names."""
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


def communication_options(communication: str, has_gpus: bool) -> tf.distribute.experimental.CommunicationOptions:
    """Returns the options of TensorFlow's multi-worker strategy, whose own `AUTO` uses rings over gRPC even between GPUs.

    Args:
        communication: `auto`, `ring` or `nccl`.
        has_gpus: whether this machine has GPUs.

    Raises:
        InputError: for NCCL without GPUs.
    """
    if communication == NCCL and not has_gpus:
        raise InputError("`communication` nccl requires GPUs on every machine. Received: none; use ring.")
    chosen = (NCCL if has_gpus else RING) if communication == AUTO else communication
    return tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation(chosen.upper())
    )


def _multi_worker(surroundings: str | None, options: tf.distribute.experimental.CommunicationOptions) -> Cluster:
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
                f"The task in TF_CONFIG must be in its cluster, with indices from 0. Received: type {kind!r}, index {index}; "
                f"the cluster has {there}."
            )
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        workers = sum(jobs.values())
        if kind == "worker":
            index += jobs["chief"]
    elif surroundings == "SLURM":
        every, index = slurm.addresses(os.environ)
        workers = len(every)
        # Slurm determines which GPUs a task sees (--gpus-per-task).
        gpus = len(tf.config.get_visible_devices("GPU"))
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": every}),
            task_type="worker",
            task_id=index,
            rpc_layer="grpc",
            num_accelerators={"GPU": gpus} if gpus else {},
        )
    else:
        raise InputError("`strategy` multi-worker requires TF_CONFIG or a Slurm step with several tasks (srun). Received: neither.")
    spec = resolver.cluster_spec().as_dict()
    addresses = (*spec.get("chief", []), *spec.get("worker", []))
    waiting.meet(addresses, index)
    made = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    local = made.num_replicas_in_sync // workers
    return Cluster(
        made,
        range(index * local, (index + 1) * local),
        index == 0,
        f"multi-worker, worker {index + 1} of {workers}, {counted(local, 'replica')} each, {options.implementation.value.lower()} "
        f"communication ({surroundings})",
        addresses,
        options.implementation.value.lower(),
    )
