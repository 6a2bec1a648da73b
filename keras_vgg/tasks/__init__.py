"""What a net is trained to tell of an image. Imports no TensorFlow.

A task is a module with a subclass of `task.Task`, and a row of `TASKS`.
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
"""Where the class of each task is, by the name that recipes call it."""


def get_task(name: str) -> "type[Task]":
    """Returns the class of a task.

    >>> from keras_vgg.tasks import get_task
    >>> get_task("classification").activation
    'softmax'

    Raises:
        InputError: for a name that is not among `TASKS`.
    """
    if name not in TASKS:
        raise InputError(f"`task` must be one of {', '.join(TASKS)}. Received: {name!r}.")
    module, _, of = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), of)
