"""Joining of several descriptor files."""

import dataclasses
import itertools
import json
from collections.abc import Sequence

import numpy as np

from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.errors import InputError


def join(read: Sequence[DescriptorFile], told: str) -> DescriptorFile:
    """Returns several descriptor files as one, with a row for each image of their datasets.

    Files made in the same way contain different images and are concatenated. Files made in different ways contain the same
    images, and their descriptors are stacked like those of several nets. Images that a file leaves out become rows of NaN, so
    that random splits remain the same.

    Args:
        read: at least one file.
        told: names of the files in messages.

    Raises:
        InputError: if the files do not fit each other.
    """
    return _stacked(read, told) if len({_made(each) for each in read}) > 1 else _one_after_another(read, told)


def _made(content: DescriptorFile) -> str:
    """Returns how descriptors were computed, as text for comparison."""
    flip = {"flip": content.facts.get("flip")}  # for all nets, if a file does not record it for each
    nets = [flip | {name: value for name, value in net.items() if name != "path"} for net in content.facts.get("nets", [])]
    told = [content.facts.get(name) for name in ("layer", "flip", "combine", "normalize")]
    return json.dumps([nets, *told, content.facts.get("pooling", "floor"), content.facts.get("dense", True)])


def _one_after_another(read: Sequence[DescriptorFile], told: str) -> DescriptorFile:
    if len({(each.classes, each.features.shape[1]) for each in read}) > 1:
        raise InputError(f"Descriptor files must have the same classes and descriptor length. Received: {told}.")
    if any(_are_same_images(one, other) for one, other in itertools.combinations(read, 2)):
        raise InputError(
            f"Descriptor files made in the same way must contain different images. Received: {told} with the same images."
        )
    filled = [_filled(each) for each in read]

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in filled])

    labels = whole("labels")
    return DescriptorFile(
        whole("features"),
        labels,
        whole("images"),
        whole("split"),
        filled[0].classes,
        filled[0].facts | {"problems": _problems(filled)},
        np.arange(len(labels)),
        whole("fingerprints") if all(each.fingerprints is not None for each in filled) else None,
    )


def _are_same_images(one: DescriptorFile, other: DescriptorFile) -> bool:
    """Whether most images of one file are in the other, by content; in files of earlier versions, whether any is, by name.

    A few duplicates under other names may occur in a dataset and are not an error of the user.
    """
    if one.fingerprints is None or other.fingerprints is None:
        return bool(set(one.images) & set(other.images))
    shared = np.isin(one.fingerprints, other.fingerprints).sum()
    return bool(2 * shared > min(len(one.fingerprints), len(other.fingerprints)))


def _stacked(read: Sequence[DescriptorFile], told: str) -> DescriptorFile:
    filled = [_filled(each) for each in read]
    fingerprints = [each.fingerprints for each in filled if each.fingerprints is not None]
    told_by = fingerprints if len(fingerprints) == len(filled) else [each.images for each in filled]  # names are the fallback
    same = {
        (each.classes, each.labels.tobytes(), tuple(images.tolist()), tuple(each.parts))
        for each, images in zip(filled, told_by, strict=True)
    }
    if len(same) > 1:
        raise InputError(
            f"Descriptor files made in different ways are stacked and must contain the same images. "
            f"Received: {told} with different images."
        )
    features = np.concatenate([each.features for each in filled], axis=1)
    if all(each.facts.get("normalize") for each in filled):
        features /= np.float32(len(filled) ** 0.5)  # each has length one, and so does the whole
    features[np.any([np.isnan(each.features).all(axis=1) for each in filled], axis=0)] = np.nan
    nets = [net for each in filled for net in each.facts.get("nets", [])]
    facts = filled[0].facts | {"nets": nets, "problems": _problems(filled)}
    return dataclasses.replace(filled[0], features=features, facts=facts)


def _problems(read: Sequence[DescriptorFile]) -> dict[str, str]:
    return {name: reason for each in read for name, reason in each.facts.get("problems", {}).items()}


def _filled(content: DescriptorFile) -> DescriptorFile:
    """Returns the file with a row for each image of the dataset: skipped ones have NaN, no label and no name."""
    count = content.facts.get("data images", 0)
    count = max(count if isinstance(count, int) else 0, content.places.max(initial=-1) + 1)

    def spread(values, missing):
        whole = np.full((count, *values.shape[1:]), missing, values.dtype)
        whole[content.places] = values
        return whole

    return dataclasses.replace(
        content,
        features=spread(content.features, np.nan),
        labels=spread(content.labels.astype(np.int64), -1),
        images=spread(content.images, ""),
        split=spread(content.parts, ""),
        fingerprints=None if content.fingerprints is None else spread(content.fingerprints, 0),
        places=np.arange(count),
    )
