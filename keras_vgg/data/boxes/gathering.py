"""From the examples of each set to a data set with boxes, and what people are told of it."""

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
    """Returns a data set with boxes; sets without any example are left out.

    Where there are no images for validation, and one is an example of several classes, those held out are chosen here, by image: it
    is not to be learnt as one class and tested as another.

    Args:
        examples: by set.
        classes, description, notes: of the data set; notes on boxes are added.
        where: where boxes were looked for, in messages.

    Raises:
        InputError: if no set has an example, or none can be used.
    """
    some = {each: found for each, found in examples.items() if found.found}
    if not some:
        raise InputError(f"There must be images with boxes. Received: none of {_total(examples)} has any. Looked for {where}.")
    check_some_usable([annotation for found in some.values() for annotation in found.annotations], f"Annotations in {description}")
    without = [
        f"Note: without {each} images: none of {found.split.size:,} has boxes."
        for each, found in examples.items()
        if each not in some
    ]
    splits = {each: found.with_targets() for each, found in some.items()}
    told = [*notes, *notes_on_boxes(some, classes), *without]
    if VALIDATION not in splits and TRAIN in splits and some[TRAIN].makes_several and len(np.unique(some[TRAIN].images)) > 1:
        splits = _held_out_by_image(splits, some[TRAIN].images)
        told.append(
            f"validation: {splits[VALIDATION].size:,} examples held out of {len(some[TRAIN].found):,} for training, by image, "
            "since there are none for it"
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
    """Yields lines for people on what was found and what was left out.

    Args:
        examples: by set.
        classes: names in label order.
    """
    yield f"boxes: {'; '.join(f'{each} {_counts(found)}' for each, found in examples.items())}"
    every = list(examples.values())
    left_out = {
        "boxes without area or outside of their image": sum(each.annotation.dropped for found in every for each in found.found),
        "objects of another class than their image's": sum(found.others for found in every),
        "difficult objects": sum(found.difficult for found in every),
    }
    if any(left_out.values()):
        yield f"Note: left out: {', '.join(f'{count:,} {what}' for what, count in left_out.items() if count)}."
    flawed = [
        (found.name_of(place), each.annotation.flaw)
        for found in every
        for place, each in enumerate(found.found)
        if each.annotation.flaw
    ]
    if flawed:
        name, flaw = flawed[0]
        yield f"Warning: {len(flawed):,} examples have no box that can be used and count as broken, e.g. {name}: {flaw}."
    first, found = next(iter(examples.items()))
    usable = {each.label for each in found.found if not each.annotation.flaw} | {UNKNOWN}
    if without := [name for label, name in enumerate(classes) if label not in usable]:
        some = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        yield f"Warning: of {len(without)} of {len(classes)} classes no {first} image has a box that can be used: {some}."


def _counts(found: Examples) -> str:
    usable = [each for each in found.found if not each.annotation.flaw]
    images = len({each.image for each in usable})
    told = f"{sum(len(each.annotation.boxes) for each in usable):,} in {images:,} images"
    if without := found.split.size - len(np.unique(found.images)):
        told += f", left out without any: {without:,}"
    if len(usable) > images:
        told += f", {len(usable):,} examples, since an image is one for each class that it shows"
    return told
