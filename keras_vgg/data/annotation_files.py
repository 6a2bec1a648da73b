"""Annotation files among images: XML beside an image, and folders of XML. They are neither images nor classes."""

import os
import re
from collections.abc import Sequence

ENDING = ".xml"
_FOLDER = re.compile(r"(?:.*[ _-])?(?:annotations?|bbox(?:es)?|bounding[ _-]?boxes|xmls?)(?:[ _-].*)?")


def is_annotation_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is named like an annotation folder, such as `ILSVRC2012_bbox_train_v2`, and its first file is no image."""
    return _FOLDER.fullmatch(os.path.basename(path).lower()) is not None and not _begins_with_an_image(path)


def _begins_with_an_image(folder: str | os.PathLike[str]) -> bool:
    for _, folders, names in os.walk(folder):
        folders.sort()
        if found := sorted(name for name in names if not name.startswith(".")):
            return os.path.splitext(found[0])[1].lower() not in ("", ENDING)  # those of Stanford Dogs have none
    return False


def without_annotations(paths: Sequence[str]) -> list[str]:
    """Returns the files, without XML files beside a file of the same name with another extension."""
    if not any(map(_is_xml, paths)):
        return [*paths]
    stems = {os.path.splitext(path)[0] for path in paths if not _is_xml(path)}
    return [path for path in paths if not (_is_xml(path) and path[: -len(ENDING)] in stems)]


def _is_xml(path: str) -> bool:
    return path[-len(ENDING) :].lower() == ENDING
