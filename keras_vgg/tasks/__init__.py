"""Tasks: what a net is trained to predict for an image. Imports no TensorFlow.

A task is a module with a subclass of `task.Task`, and an entry of `TASKS`.
"""

import importlib
from typing import TYPE_CHECKING

from keras_vgg.errors import InputError

if TYPE_CHECKING:
    from keras_vgg.tasks.task import Task

LOCALISATION = "localisation"

TASKS = {
    "classification": "keras_vgg.tasks.classification:Classification",
    "multi-label": "keras_vgg.tasks.multi_label:MultiLabel",
    LOCALISATION: "keras_vgg.tasks.localisation:Localisation",
}
"""The class of each task by its name in recipes."""


def get_task(name: str) -> "type[Task]":
    """Returns the class of a task.

    >>> from keras_vgg.tasks import get_task
    >>> get_task("classification").activation
    'softmax'

    Raises:
        InputError: for a name that is not in `TASKS`.
    """
    if name not in TASKS:
        raise InputError(f"`task` must be one of {', '.join(TASKS)}. Received: {name!r}.")
    module, _, of = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), of)
