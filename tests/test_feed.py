"""Micro-batches as replicas receive them."""

import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg.data import pipeline
from keras_vgg.data.datasets import open_digits
from keras_vgg.data.order import Layout
from keras_vgg.data.split import in_memory
from keras_vgg.inference import batches
from keras_vgg.recipe import Recipe
from keras_vgg.tasks.classification import Classification
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.feed import training_feed, validation_feed

RECIPE = Recipe(crop=32, jitter=(32, 40), batch_size=8, epochs=1)


@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_copied_ahead_to_gpus_is_what_is_handed_over(monkeypatch, replicas):
    dataset, cluster, layout = open_digits().limited(20), make_cluster(replicas), Layout(8, 3, replicas)
    local, task = cluster.strategy.experimental_local_results, Classification(dataset.classes)

    def values():
        training = training_feed(dataset.train, task, RECIPE, layout, cluster, epoch=0, step=1)
        validation = validation_feed(dataset.validation, task, RECIPE, layout, cluster)
        return [local(part) for feed in (training, validation) for _ in range(5) for part in next(feed)]  # beyond the last epoch

    handed_over = values()
    monkeypatch.setattr(Cluster, "has_gpus", True)
    copied = values()
    assert {len(each) for each in handed_over} == {replicas}
    assert sum(np.sum(each[0] > 0) for each in handed_over) > 0
    for ours, theirs in zip(handed_over, copied, strict=True):
        for value, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("side", [8, 100])  # kept decoded, or read for each view
def test_no_pipeline_has_a_thread_that_tunes_it(side):
    encoded = tf.io.encode_png(np.zeros((side, side, 3), np.uint8)).numpy()
    split, view = in_memory([encoded] * 4, np.arange(4), "black"), pipeline.View(32, (32, 32))
    rows = pipeline.micro_batches(split, lambda: iter([(0, np.arange(4))]), 4, view, lambda indices: None)
    views = batches.read_as_they_are(split, batches.survey(split), [np.arange(4)])
    for dataset in (rows, views):
        assert dataset.options().autotune.enabled is False
