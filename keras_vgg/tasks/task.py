"""What a task says of itself, so that the loop, the run folder and the curves need know of none.

The net puts out `(m, units)`. A training step makes of a micro-batch one loss for each example, and sums: of the losses and of what
`measures` gives. Sums, since they come out the same however a batch is cut; `figures` makes means of them.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_vgg.data.dataset import Dataset

if TYPE_CHECKING:
    from keras_vgg.recipe import Recipe

LOSS = "loss"


@dataclasses.dataclass(frozen=True)
class Panel:
    """A diagram among the curves of a run.

    Attributes:
        label: of its vertical axis, with the unit.
        columns: of `log.csv`, without `val_`; those that only the validation has are drawn for it alone.
        factor: what the values are multiplied by.
        names: what people call each of several columns.
    """

    label: str
    columns: tuple[str, ...]
    factor: float = 1.0
    names: tuple[str, ...] = ()


class Task(abc.ABC):
    """A task, for the classes of one data set.

    Attributes:
        activation: of the net's last layer, `predictions`.
        counts: names of the sums that `measures` adds to, beside the loss.
        columns: of `log.csv` that tell of the training, without the learning rate.
        val_columns: those that tell of the validation; in the file they begin with `val_`.
        monitor: the figure of the validation that makes a plateau or the best net; the larger the better.
        monitor_name, monitor_format: what people call it, and how it is printed.
        update_line, epoch_line: what is printed of the figures of an epoch so far, and of a row of `log.csv`.
        panels: the curves.
        draws: whether `draw` shows something of a validation.
        place: graph function from the target of a whole image and the `data.images.Geometry` of a view to the target of the view;
            `None` where it is the same in every view.

    Args:
        classes: what the targets tell of, in label order.
        label_smoothing: ε in [0, 1): how much of a target is spread over all answers, in training alone.
        class_weights: factors on the losses of the classes, in training alone, for tasks of one class an image; `None` for none.
    """

    activation: ClassVar[str]
    counts: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]]
    val_columns: ClassVar[tuple[str, ...]]
    monitor: ClassVar[str]
    monitor_name: ClassVar[str]
    monitor_format: ClassVar[str] = ".2%"
    update_line: ClassVar[str]
    epoch_line: ClassVar[str]
    panels: ClassVar[tuple[Panel, ...]]
    draws: ClassVar[bool] = False
    place: Callable | None = None

    def __init__(self, classes: tuple[str, ...], label_smoothing: float = 0.0, class_weights: tuple[float, ...] | None = None):
        self.classes, self.label_smoothing, self.class_weights = classes, label_smoothing, class_weights

    @staticmethod
    @abc.abstractmethod
    def open(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
        """Returns the data set `name`, whose targets are the task's.

        Args:
            name: see `data.datasets.open_dataset`.
            limit_images: most examples of each split.
            stream: where progress is shown while many files are read, if anywhere.

        Raises:
            InputError: for an unknown name, or data that are missing, inconsistent, or not for this task.
        """

    @classmethod
    def of_recipe(cls, recipe: "Recipe", classes: tuple[str, ...], class_weights: tuple[float, ...] | None = None) -> "Task":
        """Returns the task of a recipe for the classes of its data set."""
        return cls(classes, recipe.label_smoothing, class_weights)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each of the numbers tells that the net puts out: nets of which two have the same can take over from each other."""
        return self.classes

    @property
    def units(self) -> int:
        """How many numbers the net puts out."""
        return len(self.outputs)

    @property
    def facts(self) -> dict[str, Any]:
        """What a file of the net says of it beside its preprocessing, as JSON can write it; see `weights.kinds.note`."""
        return {}

    def start(self, weights: list[np.ndarray], seed: int) -> list[np.ndarray]:
        """Returns the weights with which the net's last layer begins where it begins at random, from its initialised ones."""
        return weights

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of what is summed over examples, the loss first."""
        return (LOSS, *self.counts)

    @property
    def row_length(self) -> int:
        """How many numbers `rows` keeps of an example; 0 for none."""
        return 0

    @property
    def chance_loss(self) -> float | None:
        """The loss of a net that guesses, nats; `None` where none can be told."""
        return None

    @abc.abstractmethod
    def losses(self, outputs, targets, *, training: bool):
        """Returns the loss of each example: `(m, units)` float32 and `(m, …)` to `(m,)` float32, nats."""

    def measures(self, outputs, targets) -> list:
        """Returns what is added to each of `counts` for each example: a list of `(m,)` float32."""
        return []

    def rows(self, outputs, targets):
        """Returns what is kept of each validation example for `val_figures`: `(m, row_length)` float32."""
        raise NotImplementedError

    def figures(self, sums: Mapping[str, float], examples: float) -> dict[str, float]:
        """Returns the figures of `sums` over so many `examples`."""
        return {name: value / max(examples, 1.0) for name, value in sums.items()}

    def row_figures(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the figures of what was kept of all validation examples: `(examples, row_length)`, in no order."""
        return {}

    def draw(self, pixels: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Returns validation views with what is told of them drawn on, for TensorBoard; for tasks with `draws`.

        Args:
            pixels: `(n, crop, crop, 3)` uint8, RGB.
            outputs: `(n, units)` float32.
            targets: `(n, …)`.
        """
        raise NotImplementedError

    def compile_arguments(self) -> dict[str, Any]:
        """Returns `loss` and `metrics` for `Model.compile` that tell the same as this task, under the names of `figures`."""
        return {}

    def to_columns(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Returns figures as `log.csv` has them."""
        return dict(figures)
