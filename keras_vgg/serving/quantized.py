"""Quantizes a file and measures it: finds the images before the net is loaded, and measures the written file with them."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_vgg import class_names
from keras_vgg.data.datasets import open_dataset
from keras_vgg.evaluation.run import default_split, split_of
from keras_vgg.inference.class_labels import labels_of
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.views import CENTER, Views
from keras_vgg.precision import BFLOAT16, FLOAT32
from keras_vgg.serving import file_figures, quantizing
from keras_vgg.serving.engines import FORMATS
from keras_vgg.serving.image_sets import Crops, ImageSet, check_labels, open_calibration, open_labelled
from keras_vgg.serving.plan import Plan


@dataclasses.dataclass(frozen=True)
class Job:
    """The images of a quantization.

    Attributes:
        calibration: images to calibrate activation ranges with.
        labelled: images to measure errors on, if any.
        labels: `(classes of the labelled data,)` int64, the net's class number of each of these classes.
    """

    calibration: ImageSet
    labelled: ImageSet | None = None
    labels: np.ndarray | None = None


def prepare(
    model_or_run: keras.Model | str | os.PathLike[str],
    calibrate: str | os.PathLike[str],
    most: int,
    labelled: str | os.PathLike[str] | None,
    *,
    say: Callable[[str], None],
    stream=None,
) -> Job:
    """Finds and checks the images; arguments as for `formats.export_file`.

    Raises:
        InputError: if none is readable, or the net does not have their classes.
    """
    if labelled is None:
        return Job(open_calibration(os.fspath(calibrate), most, stream=stream))
    spec = os.fspath(labelled)
    dataset = open_dataset(spec)
    check_labels(dataset)
    if isinstance(model_or_run, keras.Model):
        num_classes = max(model_or_run.output_shape[-1], 2)
        labels = labels_of(dataset.classes, class_names.known(model_or_run), num_classes, told=model_or_run.name, say=say)
        which = default_split(dataset, was_trained_on=False)
    else:
        source = open_net_file(str(model_or_run))
        source.check_classifier()
        labels = source.labels_of(dataset.classes, source.count_classes(), say=say)
        which = split_of(dataset, {source.name: source}, [source.name])
    calibration = open_calibration(os.fspath(calibrate), most, stream=stream)
    return Job(calibration, open_labelled(dataset, which, spec, stream=stream), labels)


def write(
    job: Job, plan: Plan, format: str, plain: pathlib.Path, target: pathlib.Path, *, say: Callable[[str], None], stream=None
) -> dict:
    """Writes the int8 file of a float32 file, reloads it and measures it.

    Args:
        job: the images.
        plan: the net and its protocol.
        format: a key of `engines.FORMATS`.
        plain: the float32 file.
        target: the file to write.
        say: called with a line for each skipped image.
        stream: where to show progress, if anywhere.

    Returns:
        The entry on the card.

    Raises:
        InputError: if the engine's tool does not support the net.
    """
    network, kind = plan.network, FORMATS[format]
    views = Views(CENTER, plan.protocol.scales[0], flip=False)
    sets = {"calibration": job.calibration} | ({"labelled": job.labelled} if job.labelled else {})
    used = {name: images.readable(views, network.crop) for name, images in sets.items()}
    for images in sets.values():
        images.tell_unusable(say)
    crops = {name: Crops(images.images.split, used[name], views.scale, network.crop) for name, images in sets.items()}
    classifier = [layer.name for layer in network.model.layers if isinstance(layer, keras.layers.Dense)][-1]
    facts = quantizing.quantise(format, plain, target, crops["calibration"], classifier, stream=stream)
    nets = [file_figures.of_net(network, plan.protocol.kind, plan.protocol.flip, precision) for precision in (FLOAT32, BFLOAT16)]
    both = [
        file_figures.Computer(f"{kind.engine} {name}", kind.size(file), functools.partial(kind.open, file))
        for name, file in (("float32", plain), (quantizing.INT8, target))
    ]
    labels = job.labels[job.labelled.labels[used["labelled"]]] if job.labelled and job.labels is not None else None
    rows = file_figures.measure([*nets, *both], crops["calibration"], crops.get("labelled", ()), labels, stream=stream)
    facts["seen as"] = f"center crops of {network.crop}x{network.crop} at Q = {views.scale}"
    facts |= {name: images.facts(used[name]) for name, images in sets.items()}
    return facts | {"figures": rows}
