"""One weight update, the same code for one device, many and many machines.

A batch comes in micro-batches. `accumulate` adds up the gradients of one micro-batch on every replica; `totals` sums the
batch's figures over the replicas; `update` sums the gradients over the replicas and changes the weights. Sums, not means: the
weights that come out do not depend on how the batch was cut, float rounding apart.
"""

import dataclasses

import keras
import tensorflow as tf

from keras_vgg.data.color import ColorStatistics, shifts
from keras_vgg.data.pipeline import MicroBatch
from keras_vgg.layers import training_forward
from keras_vgg.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over examples.

    Attributes:
        loss: of the cross-entropies, nats.
        top1, top5: of the hits.
        examples: number of examples.
        broken: number of images that could not be read.
        stop: number of workers that were asked to stop.
    """

    loss: float = 0.0
    top1: float = 0.0
    top5: float = 0.0
    examples: float = 0.0
    broken: float = 0.0
    stop: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def means(self, prefix: str = "") -> dict[str, float]:
        """Mean loss and accuracies over the examples."""
        examples = max(self.examples, 1.0)
        return {
            f"{prefix}loss": self.loss / examples,
            f"{prefix}accuracy": self.top1 / examples,
            f"{prefix}top5_accuracy": self.top5 / examples,
        }


def figures(probabilities, batch: MicroBatch):
    """Returns `(losses, sums)` of a micro-batch: `(m,)` float32, and `(5,)` float64 as the first five fields of `Totals`.

    A label's rank counts the classes with a higher probability, and those with the same one and a lower number, as in argmax.
    """
    labels = batch.labels
    losses = batch.weights * keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    of_label = tf.gather(probabilities, labels, batch_dims=1)[:, tf.newaxis]
    lower = tf.range(probabilities.shape[-1]) < labels[:, tf.newaxis]
    ahead = tf.logical_or(probabilities > of_label, tf.logical_and(probabilities == of_label, lower))
    rank = tf.math.count_nonzero(ahead, axis=-1, dtype=tf.int32)
    hits = [tf.reduce_sum(batch.weights * tf.cast(rank < k, tf.float32)) for k in (1, 5)]
    sums = [tf.reduce_sum(losses), *hits, tf.reduce_sum(batch.weights), batch.broken]
    return losses, tf.cast(tf.stack(sums), tf.float64)


class TrainingStep:
    """Computes weight updates for a model under a strategy.

    Args:
        model: a net of `build_vgg`, made in the strategy's scope; layers that are not to be trained made so before.
        optimizer: made in the strategy's scope.
        strategy: the strategy.
        preprocessing: what the model's weights want.
        colors: colours for the random colour shift, or `None` for no shift.
        seed: the run's seed.
        jit: whether to compile the forward and backward pass with XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        *,
        preprocessing: Preprocessing,
        colors: ColorStatistics | None,
        seed: int,
        jit: bool,
    ):
        self._model, self._optimizer, self._strategy = model, optimizer, strategy
        self._variables = [variable.value for variable in model.trainable_variables]

        def sum_variable(value):
            return tf.Variable(
                value, trainable=False, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM
            )

        with strategy.scope():
            optimizer.build(model.trainable_variables)
            self._gradients = [sum_variable(tf.zeros(variable.shape)) for variable in self._variables]
            self._sums = sum_variable(tf.zeros([5], tf.float64))

        @tf.function(jit_compile=jit, autograph=False)
        def gradients(batch: MicroBatch, loss_scale):
            images = tf.cast(batch.images, tf.float32)
            if colors is not None:
                images += shifts(batch.keys, colors, seed=seed)[:, tf.newaxis, tf.newaxis]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)  # these alone: what runs before the first trainable layer is not recorded at all
                probabilities = training_forward(model, preprocessing(images), batch.keys, seed=seed)
                losses, sums = figures(probabilities, batch)
                loss = tf.reduce_sum(losses) * loss_scale
            return tape.gradient(loss, self._variables), sums

        @tf.function(jit_compile=jit, autograph=False)
        def evaluate(batch: MicroBatch):
            return figures(model(preprocessing(batch.images), training=False), batch)[1]

        self._gradients_of, self._figures_of = gradients, evaluate

    @tf.function(autograph=False)
    def accumulate(self, batch: MicroBatch, loss_scale, *, first: bool):
        """Adds the gradients (times `loss_scale`) and figures of one micro-batch per replica; the `first` begins the sum anew."""

        def on_replica(batch):
            gradients, sums = self._gradients_of(batch, loss_scale)
            for total, gradient in zip(self._gradients, gradients, strict=True):
                if first:
                    total.assign(gradient)  # so that nothing needs clearing, whatever became of the batch before
                else:
                    total.assign_add(gradient)
            self._sums.assign_add(sums)

        self._strategy.run(on_replica, args=(batch,))

    @tf.function(autograph=False)
    def evaluate(self, batch: MicroBatch):
        """Adds the figures of one micro-batch per replica, without training."""
        self._strategy.run(lambda batch: self._sums.assign_add(self._figures_of(batch)), args=(batch,))

    def totals(self, stop: bool = False) -> Totals:
        """Returns the figures since the last call, over all replicas, and starts them afresh.

        Every worker must call it at the same point; each gets the same answer.

        Args:
            stop: whether this worker was asked to stop.
        """
        return Totals(*self._take_sums(tf.constant(float(stop), tf.float64)).numpy().tolist())

    @tf.function(autograph=False)
    def _take_sums(self, stop):
        def on_replica():
            context = tf.distribute.get_replica_context()
            sums = tf.concat([self._sums.read_value(), stop[tf.newaxis]], axis=0)
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
            self._sums.assign(tf.zeros_like(self._sums))
            return total

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    @tf.function(autograph=False)
    def gradients_are_finite(self):
        """Whether the summed gradients hold no infinity and no NaN, on every replica (for loss scaling)."""

        def on_replica():
            norms = [tf.reduce_sum(tf.abs(total.read_value())) for total in self._gradients]
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.add_n(norms))

        return tf.math.is_finite(self._strategy.experimental_local_results(self._strategy.run(on_replica))[0])

    @tf.function(autograph=False)
    def update(self, divisor):
        """Changes the weights by the summed gradients over `divisor` (examples times loss scale)."""

        def on_replica():
            gradients = [total.read_value() / divisor for total in self._gradients]
            self._optimizer.apply(gradients, self._model.trainable_variables)

        self._strategy.run(on_replica)
