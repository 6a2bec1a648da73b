"""From the examples of each set to a dataset with boxes, and notes on it for the user."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from keras_vgg.data.boxes.annotation import check_some_usable
from keras_vgg.data.boxes.examples import Examples
from keras_vgg.data.dataset import Dataset, hold_out
from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.data.split import UNKNOWN, Split
from keras_vgg.errors import InputError


def gather(
    examples: Mapping[str, Examples], classes: tuple[str, ...], description: str, notes: Iterable[str], where: str
) -> Dataset:
    """Returns a dataset with boxes, without sets that have no examples.

    If there is no validation set, and an image is an example of several classes, validation images are held out here, by image,
    so that none is trained on as one class and validated as another.

    Args:
        examples: by set.
        classes, description, notes: of the dataset; notes on boxes are added.
        where: where boxes were searched, for messages.

    Raises:
        InputError: if no set has an example, or none is usable.
    """
    some = {each: found for each, found in examples.items() if found.found}
    if not some:
        raise InputError(f"None of {_total(examples)} has boxes. Searched in: {where}.")
    check_some_usable([annotation for found in some.values() for annotation in found.annotations], f"Annotations in {description}")
    without = [
        f"Note: no {each} images: none of {found.split.size:,} has boxes." for each, found in examples.items() if each not in some
    ]
    splits = {each: found.with_targets() for each, found in some.items()}
    told = [*notes, *notes_on_boxes(some, classes), *without]
    if VALIDATION not in splits and TRAIN in splits and some[TRAIN].makes_several and len(np.unique(some[TRAIN].images)) > 1:
        splits = _held_out_by_image(splits, some[TRAIN].images)
        told.append(
            f"validation: {splits[VALIDATION].size:,} examples held out of {len(some[TRAIN].found):,} training examples, by image, "
            "since there is no validation set"
        )
    return Dataset(splits, classes, description, tuple(told))


def _total(examples: Mapping[str, Examples]) -> str:
    return " and ".join(f"{found.split.size:,} {each} images" for each, found in examples.items())


def _held_out_by_image(splits: Mapping[str, Split], images: np.ndarray) -> dict[str, Split]:
    names = np.unique(images)
    kept, held_out = (np.flatnonzero(np.isin(images, names[chosen])) for chosen in hold_out(len(names)))
    whole = splits[TRAIN]
    parts = {TRAIN: whole.subset(kept), VALIDATION: whole.subset(held_out)}
    return parts | {each: split for each, split in splits.items() if each == TEST}


def notes_on_boxes(examples: Mapping[str, Examples], classes: tuple[str, ...]) -> Iterator[str]:
    """Yields readable lines on what was found and what was skipped.

    Args:
        examples: by set.
        classes: names in label order.
    """
    yield f"boxes: {'; '.join(f'{each} {_counts(found)}' for each, found in examples.items())}"
    every = list(examples.values())
    left_out = {
        "boxes without area or outside their image": sum(each.annotation.dropped for found in every for each in found.found),
        "objects of another class than their image's": sum(found.others for found in every),
        "difficult objects": sum(found.difficult for found in every),
    }
    if any(left_out.values()):
        yield f"Note: skipped: {', '.join(f'{count:,} {what}' for what, count in left_out.items() if count)}."
    flawed = [
        (found.name_of(place), each.annotation.flaw)
        for found in every
        for place, each in enumerate(found.found)
        if each.annotation.flaw
    ]
    if flawed:
        name, flaw = flawed[0]
        yield f"Warning: {len(flawed):,} examples have no usable box and count as broken, e.g. {name}: {flaw}."
    first, found = next(iter(examples.items()))
    usable = {each.label for each in found.found if not each.annotation.flaw} | {UNKNOWN}
    if without := [name for label, name in enumerate(classes) if label not in usable]:
        some = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        yield f"Warning: {len(without)} of {len(classes)} classes have no {first} image with a usable box: {some}."


def _counts(found: Examples) -> str:
    usable = [each for each in found.found if not each.annotation.flaw]
    images = len({each.image for each in usable})
    told = f"{sum(len(each.annotation.boxes) for each in usable):,} in {images:,} images"
    if without := found.split.size - len(np.unique(found.images)):
        told += f", skipped without boxes: {without:,}"
    if len(usable) > images:
        told += f", {len(usable):,} examples, one per image and class"
    return told
