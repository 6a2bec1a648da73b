"""XML annotation files of images: finding them, and reading many of them. Imports no TensorFlow."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Sequence

from keras_vgg.data import sets, voc_xml
from keras_vgg.data.annotation_files import ENDING, is_annotation_folder
from keras_vgg.data.voc_xml import Shown
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import is_sidecar
from keras_vgg.support.progress import Progress

_THREADS = 8  # most of them wait for the disk: only one at a time parses XML
_CHUNK = 256


def annotation_folders(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of annotations in a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_sidecar(path.name) and is_annotation_folder(path))


def find_xml(
    paths: Sequence[str], folder: pathlib.Path, which: str, roots: Sequence[pathlib.Path], image_of: dict[str, str]
) -> list[str | None]:
    """Returns the XML file of each image, with the image's name except for the extension; `None` if there is none.

    It is searched beside the image; then in each of `roots`, or the folder there with the name of the set, under the image's
    folder within its set, or directly; then in the set's folder.

    Args:
        paths: the images of a set.
        folder: the set's folder.
        which: the set.
        roots: folders of annotations.
        image_of: the image of each XML file, including other sets; those found here are added.

    Raises:
        InputError: if two images have the same XML file.
    """
    of_set = [place for root in roots for place in (*_called(root, which), root)]

    @functools.cache
    def listed(place: str, are_annotations: bool) -> dict[str, str]:
        return _xml_in(place, are_annotations)

    @functools.cache
    def candidates(where: str) -> list[dict[str, str]]:
        within = os.path.relpath(where, folder)
        places = [*(os.path.join(root, within) for root in of_set), *map(os.fspath, of_set)]
        apart = [listed(os.path.normpath(place), True) for place in places]
        return [each for each in (listed(where, False), *apart, listed(os.fspath(folder), False)) if each]

    def find(path: str) -> str | None:
        where, _, name = path.rpartition(os.sep)
        stem = os.path.splitext(name)[0]
        xml = next((names[stem] for names in candidates(where) if stem in names), None)
        if xml is None or xml == path:  # the "image" is an XML file itself
            return None
        if (other := image_of.setdefault(xml, path)) != path:
            raise InputError(
                f"Each XML file must belong to one image. Received: {xml} for {other} and {path}; put XML files beside their "
                "images, or in the same folder structure."
            )
        return xml

    return list(map(find, paths))


def _called(root: pathlib.Path, which: str) -> list[pathlib.Path]:
    """Returns the folder in `root` with the name of a set, if there is one."""
    found = sets.by_set(path.name for path in root.iterdir() if path.is_dir())
    return [root / found[which]] if which in found else []


def _xml_in(place: str, are_annotations: bool) -> dict[str, str]:
    """Returns `{name without extension: path}`. In annotation folders files may have no extension, as in Stanford Dogs."""
    try:
        names = [entry.name for entry in os.scandir(place) if not is_sidecar(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() == ENDING or (are_annotations and not ending):
            found[stem] = os.path.join(place, name)
    return found


def read_all(paths: Sequence[str | None], stream=None) -> list[Shown | str | None]:
    """Reads annotations: the content of each, an error message for an invalid one, `None` for `None`.

    Args:
        paths: the files.
        stream: where progress is shown, if anywhere.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    found: list[Shown | str | None] = []
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool, Progress(len(paths), stream=stream, unit="files") as progress:
        for read in pool.map(lambda chunk: [None if path is None else _read(path) for path in chunk], chunks):
            found += read
            progress.count(len(read))
            progress.show("reading boxes")
    return found


def _read(path: str) -> Shown | str:
    try:
        shown = voc_xml.read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return f"damaged annotation {os.path.basename(path)}: {reason}"
    return shown if shown.size else f"annotation {os.path.basename(path)} without the image's size"
