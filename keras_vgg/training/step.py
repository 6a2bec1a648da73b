"""One weight update, with the same code for one or many devices and machines.

A batch is processed in micro-batches. `accumulate` adds up the gradients of one micro-batch on every replica; `take_sums` sums the
batch's metrics over the replicas; `update` sums the gradients over the replicas and updates the weights. With sums rather than
means, the resulting weights do not depend on how the batch was split, apart from rounding, which half precision does more of.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from keras_vgg.data.color import ColorStatistics, shifts
from keras_vgg.data.pipeline import MicroBatch
from keras_vgg.kernel_copies import KernelCopies
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.randomness import example_index
from keras_vgg.tasks.task import Task
from keras_vgg.training.batch_norm import batch_norm_layers, follow
from keras_vgg.training.forward import training_forward
from keras_vgg.training.mixing import Mixing, greater, mix, partners
from keras_vgg.training.totals import Totals
from keras_vgg.training.weight_average import WeightAverage

_INFINITIES = {"float16": 65520.0}
"""By compute dtype, the smallest number that is rounded to infinity, if float32 can represent it."""

_PACK_BYTES = 2**25
"""Larger packs wait longer for their first byte to be used, smaller ones wait for each other's acknowledgement."""


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Settings of weight updates.

    Attributes:
        preprocessing: the model's preprocessing.
        colors: color statistics for the random color shift, or `None` for no shift.
        seed: random seed of the run.
        jit: whether to compile the forward and backward pass with XLA.
        clip_norm: maximum norm of the gradient over all weights; `None` for no clipping.
        norm_group: examples that batch norm normalizes together.
        mixing: settings of MixUp and CutMix; `None` for neither.
    """

    preprocessing: Preprocessing
    colors: ColorStatistics | None = None
    seed: int = 0
    jit: bool = False
    clip_norm: float | None = None
    norm_group: int = 1
    mixing: Mixing | None = None


class TrainingStep:
    """Computes weight updates for a model under a strategy.

    Args:
        model: a net of `build_vgg`, created in the strategy's scope, with layers already frozen.
        optimizer: created in the strategy's scope.
        strategy: the strategy.
        task: the task.
        settings: the settings.
        average: moving average of the weights, updated after each step; by default none.
        validation_size: number of validation examples, for each of which the task may keep a row.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        task: Task,
        settings: StepSettings,
        *,
        average: WeightAverage | None = None,
        validation_size: int = 0,
    ):
        self._model, self._optimizer, self._strategy, self._task, self._settings = model, optimizer, strategy, task, settings
        self._kernel_copies = KernelCopies(model, strategy)
        self._norms, self._average = batch_norm_layers(model), average

        def sum_variable(value):
            return tf.Variable(
                value, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM
            )

        with strategy.scope():
            optimizer.build(model.trainable_variables)
            self._gradients = [sum_variable(tf.zeros(variable.shape)) for variable in model.trainable_variables]
            self._moments = [sum_variable(tf.zeros([2, *layer.gamma.shape])) for layer in self._norms]
            self._sums = sum_variable(tf.zeros([len(task.sums) + 2], tf.float64))
            # Each validation example's row, after a 1 that marks it as present; zeros on the other replicas.
            self._rows = sum_variable(tf.zeros([validation_size, 1 + task.row_length])) if task.row_length else None
        dtypes = (layer.compute_dtype for layer in model.layers for _ in layer.trainable_variables)
        self._infinities = [_INFINITIES.get(dtype, math.inf) for dtype in dtypes]
        self._gradients_of = tf.function(self._trace_gradients, jit_compile=settings.jit, autograph=False)
        self._add = tf.function(_add, jit_compile=True, autograph=False)
        self._fit = tf.function(self._trace_fit, jit_compile=True, autograph=False)
        self._figures_of = tf.function(self._trace_figures, jit_compile=settings.jit, autograph=False)

    def _trace_gradients(self, batch: MicroBatch, loss_scale):
        settings = self._settings
        images = tf.cast(batch.images, tf.float32)
        if settings.colors is not None:
            images += shifts(batch.keys, settings.colors, seed=settings.seed)[:, tf.newaxis, tf.newaxis]
        shares = None
        if settings.mixing is not None:
            images, shares = mix(images, batch.keys, batch.weights, settings.mixing)
        with_copies, sources = self._kernel_copies.stand_in(self._model.trainable_variables)
        with with_copies, tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)  # only these: nothing before the first trainable layer is recorded
            outputs, moments = training_forward(
                self._model,
                settings.preprocessing(images),
                batch.keys,
                batch.weights,
                seed=settings.seed,
                norm_group=settings.norm_group,
            )
            losses = batch.weights * self._losses(outputs, batch.targets, shares)
            loss = tf.reduce_sum(losses) * loss_scale
        if shares is not None:  # a prediction is correct if it is the class with the larger share
            batch = batch._replace(targets=greater(batch.targets, shares))
        return tape.gradient(loss, sources), moments, self._sums_of(outputs, losses, batch)

    def _losses(self, outputs, targets, shares):
        """Returns the losses of the examples; for mixtures, the losses for both targets weighted by their shares."""
        own = self._task.losses(outputs, targets, training=True)
        if shares is None:
            return own
        return shares * own + (1 - shares) * self._task.losses(outputs, partners(targets), training=True)

    def _trace_figures(self, batch: MicroBatch):
        outputs = self._model(self._settings.preprocessing(batch.images), training=False)
        sums = self._sums_of(outputs, batch.weights * self._task.losses(outputs, batch.targets, training=False), batch)
        if self._rows is None:
            return sums, None
        present = batch.weights[:, tf.newaxis]
        return sums, tf.concat([present, present * self._task.rows(outputs, batch.targets)], axis=-1)

    def _sums_of(self, outputs, losses, batch: MicroBatch):
        """Returns the sums of `Task.sums`, then the numbers of examples and broken images: float64."""
        counts = [tf.reduce_sum(batch.weights * measure) for measure in self._task.measures(outputs, batch.targets)]
        return tf.cast(tf.stack([tf.reduce_sum(losses), *counts, tf.reduce_sum(batch.weights), batch.broken]), tf.float64)

    @tf.function(autograph=False)
    def accumulate(self, batch: MicroBatch, loss_scale, *, first: bool):
        """Adds the gradients and metrics of one micro-batch per replica; the `first` restarts the sum.

        Args:
            batch: the micro-batch.
            loss_scale: factor on the loss of each example, and so on the gradients.
            first: whether it is the first of its batch.
        """

        def on_replica(batch):
            if first:
                self._kernel_copies.refresh()
            gradients, moments, sums = self._gradients_of(batch, loss_scale)
            compiled = []  # for values in half precision
            for total, value in zip([*self._gradients, *self._moments], [*gradients, *moments], strict=True):
                if value.dtype != total.dtype:
                    compiled.append((total, value))
                elif first:  # so that nothing needs clearing, even after an incomplete batch
                    total.assign(value)
                else:
                    total.assign_add(value)
            if compiled:
                self._add(*zip(*compiled, strict=True), tf.constant(first))
            self._sums.assign_add(sums)

        self._strategy.run(on_replica, args=(batch,))

    @tf.function(autograph=False)
    def evaluate(self, batch: MicroBatch):
        """Adds the metrics of one micro-batch per replica, without training."""

        def on_replica(batch):
            sums, rows = self._figures_of(batch)
            self._sums.assign_add(sums)
            if self._rows is not None:  # empty places add zeros to the first row
                places = example_index(batch.keys)[:, tf.newaxis]
                self._rows.assign_add(tf.scatter_nd(places, rows, self._rows.shape))

        self._strategy.run(on_replica, args=(batch,))

    def totals(self, stop: bool = False) -> Totals:
        """Returns the totals since the last call, over all replicas, and resets them.

        Every worker must call it at the same point; all receive the same result.

        Args:
            stop: whether this worker was asked to stop.
        """
        return self.read(self.take_sums(stop))

    def take_sums(self, stop: bool = False) -> tf.Tensor:
        """As `totals`, but returns a tensor for `examples_in` and `read`, without waiting for its values."""
        return self._take_sums(tf.constant([float(stop)], tf.float64))

    def read(self, sums: tf.Tensor) -> Totals:
        """Waits for the values of `take_sums` and returns them."""
        *sums, examples, broken, stops = sums.numpy().tolist()
        return Totals(dict(zip(self._task.sums, sums, strict=True)), examples, broken, stops)

    def examples_in(self, sums: tf.Tensor) -> tf.Tensor:
        """Returns the number of examples in the values of `take_sums`, float32, without waiting for them."""
        return tf.cast(sums[len(self._task.sums)], tf.float32)

    def validation_totals(self, stop: bool = False) -> Totals:
        """As `totals`, with the rows that the task keeps."""
        found = self.totals(stop)
        if self._rows is None:
            return found
        rows = self._take_rows().numpy()
        return dataclasses.replace(found, rows=rows[rows[:, 0] == 1, 1:])

    def so_far(self) -> Totals:
        """Returns the totals since the last `totals`, over all replicas, without a reset; every worker must call it."""
        *sums, examples, broken = self._read_sums().numpy().tolist()
        return Totals(dict(zip(self._task.sums, sums, strict=True)), examples, broken)

    @tf.function(autograph=False)
    def _read_sums(self):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(self._sums.read_value), axis=None)

    @tf.function(autograph=False)
    def _take_sums(self, stop):
        return self._over_replicas(self._sums, lambda sums: tf.concat([sums, stop], axis=0))

    @tf.function(autograph=False)
    def _take_rows(self):
        return self._over_replicas(self._rows, lambda rows: rows)

    def _over_replicas(self, variable, with_more):
        """Returns the sum of `with_more` of `variable` over all replicas, and resets the variable on each."""

        def on_replica():
            value = with_more(variable.read_value())
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
            variable.assign(tf.zeros_like(variable))
            return total

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    @tf.function(autograph=False)
    def gradients_are_finite(self):
        """Whether the whole batch's gradients are finite in the precision of their layers (for loss scaling).

        Sums over micro-batches, replicas and workers are float32. They count as infinite where float16 cannot represent them, as
        they would be if one device had computed the batch at once: whether they are does not depend on the layout. With several
        replicas, this sums the gradients over them once more.
        """

        def on_replica():
            return self._fit(_over_replicas([total.read_value() for total in self._gradients]))

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    def _trace_fit(self, sums):
        # A cast to float16 instead would be removed by XLA. Comparisons with NaN are false.
        fit = [tf.reduce_all(tf.abs(each) < infinity) for each, infinity in zip(sums, self._infinities, strict=True)]
        return tf.reduce_all(fit)

    @tf.function(autograph=False)
    def update(self, examples, loss_scale):
        """Updates the weights by the summed gradients over `examples` times `loss_scale`, then moving statistics and averages.

        Without examples, because all images of the batch were broken, it changes nothing.
        """
        tf.cond(examples > 0, lambda: self._update(examples, loss_scale), lambda: None)

    def _update(self, examples, loss_scale):
        def on_replica():
            sums, divisor = _over_replicas([total.read_value() for total in self._gradients]), examples * loss_scale
            if self._settings.clip_norm is not None:  # the norm in units of the longest, and at least 1
                divisor *= tf.maximum(tf.linalg.global_norm(sums) / (divisor * self._settings.clip_norm), 1.0)
            self._optimizer.apply_sums(sums, self._model.trainable_variables, divisor)
            return [total.read_value() / examples for total in self._moments]

        moments = self._strategy.run(on_replica)
        for layer, of_replicas in zip(self._norms, moments, strict=True):
            follow(layer, self._strategy.reduce(tf.distribute.ReduceOp.SUM, of_replicas, axis=None))
        if self._average is not None:
            self._average.follow()


def _add(totals: list, values: list, first) -> None:
    """Adds values of any float dtype to variables, or, if `first`, assigns them.

    Compiled, it writes sums in place without materializing cast values or zeros.
    """
    for total, value in zip(totals, values, strict=True):
        total.assign(tf.where(first, 0.0, total) + tf.cast(value, total.dtype))


def _over_replicas(gradients: list) -> list:
    """Returns the sums of gradients over all replicas.

    They travel in packs, those of the last layers first: while one does, weights are updated by those before it.
    """
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=_PACK_BYTES)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients, options)
