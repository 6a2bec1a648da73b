"""Files in the place of public ones: nets with random weights, calibrations by which each channel counts alike, class names."""

import contextlib
import json
import math
import os

import keras.src.applications.imagenet_utils as names_of_keras
import pytest
import reference_distances as reference
from safetensors.numpy import save_file

from keras_vgg import configs, preprocessing
from keras_vgg.models import build_vgg
from keras_vgg.weights import download


def write_zeros(arch, path):
    """A whole net in a sparse file: zeros that take no space on a disk."""
    shapes, number, filters = {}, 0, 3
    for block in configs.get_config(arch).blocks:
        for convolution in block:
            shapes[f"features.{number}"] = (convolution.filters, filters, 3, 3)
            number, filters = number + 2, convolution.filters  # a ReLU follows
        number += 1  # a pooling follows
    shapes |= {"classifier.0": (4096, 7 * 7 * filters), "classifier.3": (4096, 4096), "classifier.6": (1000, 4096)}
    header, size = {}, 0
    for name, shape in shapes.items():
        for kind, each in (("weight", shape), ("bias", shape[:1])):
            end = size + 4 * math.prod(each)
            header[f"{name}.{kind}"] = {"dtype": "F32", "shape": each, "data_offsets": [size, end]}
            size = end
    told = json.dumps(header).encode()
    path.write_bytes(len(told).to_bytes(8, "little") + told)
    os.truncate(path, 8 + len(told) + size)


@contextlib.contextmanager
def instead_of_downloads(folder):
    """Has files in `folder` in the place of those that would be downloaded."""
    for arch, name in (("D", "vgg16"), ("E", "vgg19")):
        write_zeros(arch, folder / f"{name}_whole.safetensors")
        model = build_vgg(arch, input_shape=(None, None, 3), include_top=False)
        model.save(folder / f"{name}_notop.keras")
        preprocessing.attach(folder / f"{name}_notop.keras", preprocessing.CAFFE)
    for name, arrays in zip(("lpips", "dists"), reference.calibration(), strict=True):
        save_file(arrays, folder / f"{name}.safetensors")
    classes = {str(number): [f"n{number:08}", f"class_{number}"] for number in range(1000)}
    (folder / "imagenet_class_index.json").write_text(json.dumps(classes))

    def fetch(file, **options):
        stem = file.name.partition(".")[0]
        if file.name.endswith(".h5") and "notop" not in stem:
            return folder / f"{stem[:5]}_whole.safetensors"
        # Features take the convolutions of files with a top, too.
        found = {"vgg16": "_notop.keras", "vgg19": "_notop.keras", "lpips": ".safetensors", "dists": ".safetensors"}
        (name,) = (name for name in (*found, "imagenet_class_index") if name in file.name)
        return folder / f"{name}{found.get(name, '.json')}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "fetch", fetch)
        patch.setattr(names_of_keras, "CLASS_INDEX", classes)
        yield
