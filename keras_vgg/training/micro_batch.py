"""Chooses the micro-batch: an even share of the batch that fits in memory, and the same one when a run is resumed."""

from collections.abc import Callable, Mapping

from keras_vgg.data.order import Layout, even_share
from keras_vgg.recipe import Recipe
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.memory import images_that_fit


def choose(
    recipe: Recipe, num_images: int, num_classes: int, cluster: Cluster, kept: Mapping | None, say: Callable[[str], None]
) -> int:
    """Returns the micro-batch of a run.

    A run that is resumed on as many replicas keeps its micro-batch, so that its sums have the same order and their bits are the
    same. On other replicas the order of the sums changes anyway, so the micro-batch is chosen anew.

    Args:
        recipe: the run.
        num_images: number of training images.
        num_classes: number of classes.
        cluster: the replicas.
        kept: `micro_batch` and `replicas` of the checkpoint; `None` for a new run.
        say: called with each line that the user should read.
    """
    batch, replicas = min(recipe.batch_size, num_images), cluster.replicas
    if isinstance(recipe.micro_batch, int):
        _tell_idle(Layout(batch, recipe.micro_batch, replicas), recipe.group, say)
        return recipe.micro_batch
    if kept and kept.get("replicas", replicas) == replicas:  # earlier versions did not store it
        _tell_idle(Layout(batch, kept["micro_batch"], replicas), recipe.group, say)
        return kept["micro_batch"]
    fits = images_that_fit(recipe, num_classes, replicas, len(cluster.my_replicas), say)
    chosen = even_share(batch, replicas, at_most=fits, group=recipe.group)
    if kept and chosen != kept["micro_batch"]:
        say(
            f"micro-batches of {chosen} instead of {kept['micro_batch']}, since the run has {replicas} replicas instead of "
            f"{kept['replicas']}: its weights remain the same apart from float rounding"
        )
    return chosen


def _tell_idle(layout: Layout, group: int, say: Callable[[str], None]) -> None:
    """Warns of replicas that compute empty places while others compute images, if another micro-batch would use them."""
    batch, micro_batch, replicas = layout.batch_size, layout.micro_batch, layout.replicas
    rounds = layout.micro_steps(batch, 0)
    idle = rounds * replicas - -(-batch // micro_batch)
    better = even_share(batch, replicas, at_most=micro_batch, group=group)
    if idle and better < micro_batch:
        where = f" in the last of {rounds} rounds" if rounds > 1 else ""
        say(
            f"Warning: batches of {batch} in micro-batches of {micro_batch} leave {idle} of {replicas} replicas idle{where}; "
            f"pass --micro-batch {better}"
        )
