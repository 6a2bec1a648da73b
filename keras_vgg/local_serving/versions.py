"""The versions of a model in a folder: which are served, and loading new ones while the server runs.

Serves the newest version, as TensorFlow Serving does by default, and those that have labels. A newer version is loaded and warmed
up while the old one continues to answer.
"""

import os
import pathlib
import threading
from collections.abc import Callable, Collection, Mapping

from keras_vgg.errors import InputError
from keras_vgg.local_serving.servable import Servable
from keras_vgg.local_serving.status import Code, StatusError, invalid
from keras_vgg.support import extras
from keras_vgg.support.saved_model_folders import versions_in

with extras.needed("serve"):
    from tensorflow_serving.apis import get_model_status_pb2, model_pb2


class Versions:
    """A served model; queries are thread-safe, but only one thread may call `poll`.

    Args:
        folder: a folder of numbered versions, or one SavedModel.
        name: the model's name.
        labels: versions by label.
        say: called with a line when a version is loaded, unloaded, or cannot be loaded.

    Raises:
        InputError: if there is no version, the newest cannot be loaded, or a label's version does not exist.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str,
        *,
        labels: Mapping[str, int] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ):
        self.name = name
        self._folder, self._labels, self._say = pathlib.Path(folder), dict(labels or {}), say
        self._turns = threading.Semaphore(os.cpu_count() or 1)
        self._servables: dict[int, Servable] = {}
        self._states: dict[int, get_model_status_pb2.ModelVersionStatus] = {}
        self._failed: dict[int, tuple] = {}
        found = versions_in(self._folder)
        if not found:
            raise InputError(f"Expected a folder of numbered versions, or a SavedModel. Received: {folder}, which has no versions.")
        for label, version in self._labels.items():
            if version not in found:
                raise InputError(
                    f"A label must refer to a version in {folder}: {', '.join(map(str, found))}. Received: {label}={version}."
                )
        for version in sorted(self._wanted(found)):
            if not self._load(version, found[version]):
                raise InputError(f"{found[version]} cannot be served: {self._states[version].status.error_message}.")

    @property
    def newest(self) -> Servable:
        """The version that answers requests without a version."""
        servables = self._servables
        return servables[max(servables)]

    @property
    def numbers(self) -> list[int]:
        """The served versions, sorted."""
        return sorted(self._servables)

    def poll(self) -> None:
        """Checks the folder: loads new versions, then unloads those that are no longer to be served.

        A version that cannot be loaded, for instance while it is being copied, is retried once its files change. If the folder
        has no versions anymore, the loaded ones stay.
        """
        try:
            found = versions_in(self._folder)
        except OSError:  # an unavailable disk may come back
            return
        wanted = self._wanted(found)
        for version in sorted(wanted - set(self._servables)):
            stamp = _stamp(found[version])
            if self._failed.get(version) == stamp:
                continue
            self._failed.pop(version, None)
            if self._load(version, found[version]):
                self._say(f"version {version} of {self.name} is served")
            else:
                self._failed[version] = stamp
                self._say(f"version {version} of {self.name} cannot be served: {self._states[version].status.error_message}")
        kept = self._kept(wanted)
        for version in sorted(set(self._servables) - kept):
            self._servables = {number: servable for number, servable in self._servables.items() if number != version}
            self._set_state(version, get_model_status_pb2.ModelVersionStatus.END)
            self._say(f"version {version} of {self.name} is no longer served")

    def _wanted(self, found: Collection[int]) -> set[int]:
        return {max(found), *(version for version in self._labels.values() if version in found)} if found else set()

    def _kept(self, wanted: set[int]) -> set[int]:
        """Returns the loaded versions to keep: all, until the newest wanted version is ready to replace them."""
        there = set(self._servables)
        return wanted & there if wanted and max(wanted) in there else there

    def _open(self, version: int, path: pathlib.Path) -> Servable:
        return Servable(path, version, turns=self._turns)

    def _load(self, version: int, path: pathlib.Path) -> bool:
        self._set_state(version, get_model_status_pb2.ModelVersionStatus.LOADING)
        try:
            servable = self._open(version, path)
        except Exception as error:  # a damaged or unfinished SavedModel may raise anything in TensorFlow
            told = " ".join(str(error).split()) or type(error).__name__
            self._set_state(version, get_model_status_pb2.ModelVersionStatus.END, Code.UNKNOWN, told.rstrip("."))
            return False
        self._servables = self._servables | {version: servable}
        self._set_state(version, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
        return True

    def _set_state(self, version: int, state: int, code: Code = Code.OK, message: str = "") -> None:
        told = get_model_status_pb2.ModelVersionStatus(
            version=version, state=state, status={"error_code": code.value[0], "error_message": message}
        )
        self._states = self._states | {version: told}  # replaced as a whole, for threads that read it

    def find(self, spec: model_pb2.ModelSpec) -> Servable:
        """Returns the version that a request refers to.

        Raises:
            StatusError: if it is not served.
        """
        servables = self._servables
        if spec.WhichOneof("version_choice") == "version_label":
            version = self._labels.get(spec.version_label) if spec.name == self.name else None
            if version not in servables:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            return servables[version]
        asked = spec.version.value if spec.HasField("version") else None
        if spec.name != self.name or asked not in (None, *servables):
            wanted = f"Latest({spec.name})" if asked is None else f"Specific({spec.name}, {asked})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return servables[max(servables) if asked is None else asked]

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns all current and former versions with their states, newest first.

        Raises:
            StatusError: if there is no such model or version.
        """
        states = self._states
        if spec.name != self.name:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        if spec.WhichOneof("version_choice") == "version_label":
            wanted = [self.find(spec).version]
        else:
            wanted = [spec.version.value] if spec.HasField("version") else sorted(states, reverse=True)
        if not set(wanted) <= states.keys():
            raise StatusError(Code.NOT_FOUND, f"Could not find version {spec.version.value} of model {spec.name}")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[states[version] for version in wanted])


def _stamp(folder: pathlib.Path) -> tuple:
    """Returns a value that changes whenever a file in a folder does."""
    stamps = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except FileNotFoundError:  # just renamed by a copying program
            continue
        stamps.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(stamps)
