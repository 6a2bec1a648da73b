"""The interface of a task, which keeps the loop, the run folder and the curves independent of specific tasks.

The net outputs `(m, units)`. A training step computes one loss per example and sums the losses and the `measures` over a
micro-batch, since sums do not depend on how a batch is split; `figures` computes means from them.
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

FAR = 10.0
"""By what factor the loss of a diverged net exceeds that of guessing, which no input is needed for."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A plot in the curves of a run.

    Attributes:
        label: label of the vertical axis, with the unit.
        columns: columns of `log.csv`, without `val_`; those without a training column are plotted for validation only.
        factor: factor on the values.
        names: display names of several columns.
    """

    label: str
    columns: tuple[str, ...]
    factor: float = 1.0
    names: tuple[str, ...] = ()


class Task(abc.ABC):
    """A task for the classes of one dataset.

    Attributes:
        activation: activation of the net's last layer, `predictions`.
        counts: names of the sums that `measures` adds to, besides the loss.
        columns: training columns of `log.csv`, without the learning rate.
        val_columns: validation columns; in the file they start with `val_`.
        monitor: validation metric that determines plateaus and the best net; larger is better.
        monitor_name, monitor_format: its display name and format.
        update_line, epoch_line: formats of the lines printed for the metrics of an epoch so far, and for a row of `log.csv`.
        panels: the curves.
        draws: whether `draw` is implemented.
        place: graph function from the target of a whole image and the `data.images.Geometry` of a view to the target of the view;
            `None` if the target is the same in every view.

    Args:
        classes: the classes, in label order.
        label_smoothing: ε in [0, 1): share of each target that is spread over all classes, in training only.
        class_weights: loss weights of the classes, in training only, for tasks with one class per image; `None` for none.
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
        """Returns the dataset `name` with targets for the task.

        Args:
            name: see `data.datasets.open_dataset`.
            limit_images: maximum number of examples of each split.
            stream: stream for progress output while many files are read, or `None`.

        Raises:
            InputError: for an unknown name, or a dataset that is missing, inconsistent, or unsuitable for this task.
        """

    @classmethod
    def of_recipe(cls, recipe: "Recipe", classes: tuple[str, ...], class_weights: tuple[float, ...] | None = None) -> "Task":
        """Returns the task of a recipe for the classes of its dataset."""
        return cls(classes, recipe.label_smoothing, class_weights)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the net's outputs: nets with the same names can share their last layer."""
        return self.classes

    @property
    def units(self) -> int:
        """Number of outputs of the net."""
        return len(self.outputs)

    @property
    def facts(self) -> dict[str, Any]:
        """JSON values that a file of the net records besides its preprocessing; see `weights.kinds.note`."""
        return {}

    def start(self, weights: list[np.ndarray], seed: int) -> list[np.ndarray]:
        """Returns the initial weights of the net's last layer if it starts at random, given its default initialization."""
        return weights

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the sums over examples, the loss first."""
        return (LOSS, *self.counts)

    @property
    def row_length(self) -> int:
        """Number of values that `rows` keeps per example; 0 for none."""
        return 0

    @property
    def chance_loss(self) -> float | None:
        """The chance-level loss in nats; `None` if unknown."""
        return None

    @property
    def diverged_loss(self) -> float | None:
        """The mean loss of a batch above which a net has diverged: ten times the chance level; `None` if unknown."""
        return None if self.chance_loss is None else FAR * self.chance_loss

    @abc.abstractmethod
    def losses(self, outputs, targets, *, training: bool):
        """Returns the loss of each example: `(m, units)` float32 and `(m, …)` to `(m,)` float32, nats."""

    def measures(self, outputs, targets) -> list:
        """Returns the terms of each of `counts` for each example: a list of `(m,)` float32."""
        return []

    def rows(self, outputs, targets):
        """Returns the values kept of each validation example for `row_figures`: `(m, row_length)` float32."""
        raise NotImplementedError

    def figures(self, sums: Mapping[str, float], examples: float) -> dict[str, float]:
        """Returns the metrics from `sums` over a number of `examples`."""
        return {name: value / max(examples, 1.0) for name, value in sums.items()}

    def row_figures(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the metrics from the rows of all validation examples: `(examples, row_length)`, in any order."""
        return {}

    def draw(self, pixels: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Returns validation views with predictions drawn on them, for TensorBoard; for tasks with `draws`.

        Args:
            pixels: `(n, crop, crop, 3)` uint8, RGB.
            outputs: `(n, units)` float32.
            targets: `(n, …)`.
        """
        raise NotImplementedError

    def compile_arguments(self) -> dict[str, Any]:
        """Returns `loss` and `metrics` for `Model.compile` equivalent to this task's, under the names of `figures`."""
        return {}

    def to_columns(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Returns the metrics as columns of `log.csv`."""
        return dict(figures)
