"""What all workers of a run must have in common, as a table of names and values."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import keras
import tensorflow as tf

import keras_vgg
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.data.split_digest import digest_of_contents, digest_of_listing
from keras_vgg.identity import short
from keras_vgg.recipe import Recipe
from keras_vgg.tasks.task import Task
from keras_vgg.training import checkpoint
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.run_folder import RunFolder


def worker_facts(
    recipe: Recipe,
    cluster: Cluster,
    dataset: Dataset,
    task: Task,
    micro_batch: int,
    resumed: RunFolder | None,
    begun_from: str | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, str]:
    """Returns by name what must be the same on all workers, in the order in which differences are reported.

    Paths may differ, what they lead to may not. Digests are shortened.

    Args:
        recipe: the recipe.
        cluster: the workers.
        dataset: the dataset; names of its images and the contents of at most `split_digest.MOST_READ` per split are compared.
        task: the task.
        micro_batch: images per micro-batch.
        resumed: the folder whose run is resumed; `None` for a new run.
        begun_from: digest of the net that the weights are copied from; `None` for random weights or a resumed run.
        callbacks: those of the run.
    """
    kinds = [type(each).__name__ for each in callbacks if not isinstance(each, keras.callbacks.History)]
    return {
        "version of keras_vgg": keras_vgg.__version__,
        "version of TensorFlow": tf.__version__,
        "version of Keras": keras.__version__,
        **_settings(recipe),
        "devices": f"{len(cluster.strategy.extended.worker_devices)} x {cluster.device_type}",
        "communication": cluster.communication,
        "images per micro-batch": str(micro_batch),
        "classes": f"{len(dataset.classes)} ({_digest(dataset.classes)})",
        "training images": _images(dataset.train),
        "validation images": _images(dataset.validation),
        "weights of the classes": _digest(task.class_weights) if task.class_weights else "none",
        "initial weights": short(begun_from) if begun_from else "random",
        "position in the run": _position(resumed),
        "callbacks": ", ".join(kinds) or "none",
    }


def _settings(recipe: Recipe) -> dict[str, str]:
    settings = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name == "communication":  # that of `cluster`, which has resolved it
            continue
        if field.name == "dataset":
            value = value.partition(":")[0]
        elif field.metadata["path"]:  # the same file may have another path on another machine
            continue
        settings[field.name] = "none" if value is None else str(value)
    return settings


def _images(split: Split) -> str:
    return f"{split.size} (names {short(digest_of_listing(split))}, contents {short(digest_of_contents(split))})"


def _position(resumed: RunFolder | None) -> str:
    if resumed is None:
        return "a new run"
    position = checkpoint.read_values(resumed.state)["position"]
    return f"epoch {position['epoch'] + 1}, step {position['step']} (checkpoint {short(checkpoint.digest(resumed.state))})"


def _digest(values: Sequence) -> str:
    return short(hashlib.sha256(json.dumps(values).encode()).hexdigest())
