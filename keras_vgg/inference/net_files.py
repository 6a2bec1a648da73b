"""The nets of an evaluation before they are loaded: where they lie, what they were trained on, what their classes are called."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_vgg import configs, preprocessing, recipe, transfer
from keras_vgg.data.trained_on import read_training_digest
from keras_vgg.errors import InputError
from keras_vgg.inference.class_labels import class_names, labels_of, read_class_names
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.network import Network
from keras_vgg.precision import FLOAT32
from keras_vgg.support import paths
from keras_vgg.weights import kinds, weight_file
from keras_vgg.weights.weight_file import CLASSES

DEFAULT_SCALE = 256
VIEWS = ("scale", "flip")
"""What a note in a `.keras` file may say of how its net is to look at images: Q, and whether at mirror images too."""

_TRIES = 5


@dataclasses.dataclass(frozen=True)
class NetFile:
    """A net that can be loaded.

    Attributes:
        name: what it is called in tables.
        path: the run folder or weight file.
        file: its weights.
        arch: the net of Table 1.
        training_scales: smallest and largest training scale S, `None` if not known.
        scale: Q that the file says it is for, `None` if it does not, see `descriptors.classifying_net`.
        classes: class names in label order, `None` if not known.
        told_by: the file that names them.
        preprocessing: what is to be assumed where the file does not say, a key of `preprocessing.BY_NAME`.
        smallest_input: the net's input has at least so many pixels on its shorter side, by the shape of fc1.
        include_top: whether it has its FC layers.
        flip: whether it was trained with mirror images, and so is to look at them where nobody says; on if that is not known.
        training_digest: `Dataset.training_digest` of what it was trained on; "" for a run that does not say, `None` for no run.
        num_classes: how many classes it has, `None` without its top.
    """

    name: str
    path: pathlib.Path
    file: pathlib.Path
    arch: str
    training_scales: tuple[int, int] | None
    classes: tuple[str, ...] | None
    told_by: str = ""
    preprocessing: str | None = None
    smallest_input: int = 1
    include_top: bool = True
    flip: bool = True
    training_digest: str | None = None
    num_classes: int | None = None
    scale: int | None = None
    weights: weight_file.WeightFile | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def preprocessing_text(self) -> str:
        """What the weights want of an image and how that is known, in the words of all commands; `InputError` if it is not.

        With it, where that is so, that whole images are looked at in a way of the net's own.
        """
        head = self.weights.head if self.weights else None
        sees_whole = head is not None and not head.has_score_map
        told = "\nits head sees a whole map at once: a dense view is the net itself on the whole image" if sees_whole else ""
        return f"{self._preprocessing_text}{told}"

    @property
    def _preprocessing_text(self) -> str:
        if self.preprocessing:
            return preprocessing.statement(preprocessing.BY_NAME[self.preprocessing], preprocessing.GIVEN)
        wants, origin = (self.weights.preprocessing, self.weights.origin) if self.weights else (None, None)
        if wants is None or origin is None:
            raise self._not_known()
        return preprocessing.statement(wants, origin)

    def _not_known(self) -> InputError:
        return InputError(f"{self.path} does not say what its weights want of an image; give --preprocessing caffe or torch.")

    @property
    def default_scale(self) -> int:
        """Q of the paper's single-scale test (Sec. 3.2): S, or the middle of the jitter range.

        Where S is not known, Q that the file says, else 256, or as much as the net takes at least.
        """
        if self.scale:
            return self.scale
        return max(sum(self.training_scales) // 2 if self.training_scales else DEFAULT_SCALE, self.smallest_input)

    @property
    def training_text(self) -> str:
        """S for tables: `256`, `[256;512]`, or nothing."""
        if not self.training_scales:
            return ""
        smallest, largest = self.training_scales
        return str(smallest) if smallest == largest else f"[{smallest};{largest}]"

    def count_classes(self) -> int:
        """Returns how many classes the net tells apart; `InputError` without its top."""
        if self.num_classes is None:
            raise _without_top(self.path)
        return self.num_classes

    def load_model(self, device: str | None = None, *, precision: str = FLOAT32) -> keras.Model:
        """Loads the model onto a device; `preprocessing.for_model` knows what its weights want of an image.

        Args:
            device: where to; by default where TensorFlow would.
            precision: what it computes in, one of `precision.PRECISIONS`, whatever it was trained in.

        Raises:
            InputError: if it cannot be loaded, what its weights want is not known, the file is replaced all the time, or for
                another precision.
        """
        for _ in range(_TRIES):
            before = _stamp(self.file)
            with tf.device(device):
                model = transfer.load_model(self.file, precision=precision)
            if _stamp(self.file) == before:
                break  # else `fit` has just put another best net in its place: parts may be of either
        else:
            raise InputError(f"Expected a weight file that stays as it is while it is read. Received: {self.file}, which does not.")
        if self.preprocessing:
            preprocessing.remember(model, preprocessing.BY_NAME[self.preprocessing])
        if not preprocessing.is_known(model):
            raise self._not_known()
        return model

    def load(
        self, *, device: str | None = None, pooling: str = "floor", average: str = "posteriors", precision: str = FLOAT32
    ) -> Network:
        """Loads the net onto a device; arguments as for `load_model` and `Network`.

        Raises:
            InputError: as `load_model`, and if the net is none with a top for square inputs.
        """
        self.check_classifier()
        model = self.load_model(device, precision=precision)
        with tf.device(device):
            return Network(model, pooling=pooling, average=average, device=device)

    def check_classifier(self) -> None:
        """Raises `InputError` if the net tells boxes instead of classes."""
        if self.regression is not None:
            raise InputError(
                f"Expected a net that tells classes. Received: {self.path}, a localiser: python -m keras_vgg.localise tests it, "
                "and predict and export take it as --localiser."
            )

    @property
    def regression(self) -> str | None:
        """What the outputs of a net that localises are, `"scr"` or `"pcr"`; `None` of a classifier."""
        return self.weights.regression if self.weights else None

    def load_localiser(self, *, device: str | None = None, pooling: str = "floor", precision: str = FLOAT32) -> Localiser:
        """Loads a net that localises onto a device; arguments as for `load_model` and `Localiser`.

        Raises:
            InputError: as `load_model`, and if it is a classifier.
        """
        if self.regression is None:
            raise InputError(
                f"Expected a localiser, as `keras_vgg.fit --task localisation` trains it. Received: {self.path}, a classifier."
            )
        model = self.load_model(device, precision=precision)
        with tf.device(device):
            return Localiser(model, self.regression, pooling=pooling, device=device)

    def class_names(self, num_classes: int) -> tuple[str, ...]:
        """Returns what the net's classes are called, in label order; see the function of this name.

        Args:
            num_classes: how many the net has.

        Raises:
            InputError: if the file beside the weights names more or fewer.
        """
        if self.classes is not None and len(self.classes) != num_classes:
            raise InputError(
                f"{self.told_by or CLASSES} must name the net's {num_classes} classes, one each. Received: {len(self.classes)}; "
                "mend it, or take it away."
            )
        return class_names(self.classes, num_classes)

    def labels_of(self, dataset_classes: tuple[str, ...], num_classes: int, *, say: Callable[[str], None] = print) -> np.ndarray:
        """Returns the net's label for each class of a data set; see the function of this name."""
        return labels_of(dataset_classes, self.classes, num_classes, told=str(self.path), say=say)


def open_net_file(
    run_or_file: str,
    *,
    name: str | None = None,
    preprocessing: str | None = None,
    classes: str | None = None,
    needs_top: bool = True,
) -> NetFile:
    """Finds a net and what is known of it, without loading it.

    Args:
        run_or_file: a run folder of `keras_vgg.fit`, or a weight file of any kind.
        name: for tables; by default the net's letter.
        preprocessing: `"caffe"` or `"torch"`, where the file does not say what its weights want.
        classes: a file that says what its classes are called, see `class_labels.read_class_names`, whatever is said beside it.
        needs_top: whether it must have its FC layers.

    Raises:
        InputError: if there is no such net, or it has no top and needs one.
    """
    path = paths.path_of(run_or_file)
    file = transfer.find_model(path)
    weights = weight_file.open_weights(file)
    has_top = weights.num_classes is not None
    if needs_top and not has_top:
        raise _without_top(path)
    folder = file.parent
    trained = recipe.read_run_recipe(folder / "recipe.toml") if (folder / "recipe.toml").exists() else None
    noted = _noted_views(file)
    arch = weights.arch + (" BN" if weights.batch_norm else "") + (", own head" if weights.head else "")
    smallest_input = configs.get_config(weights.arch).side(min(weights.spatial)) if weights.spatial else 1
    if weights.head and weights.head.side:
        smallest_input = weights.head.side
    return NetFile(
        name=name or arch,
        path=path,
        file=file,
        arch=arch,
        training_scales=trained.scales if trained else None,
        classes=read_class_names(classes) if classes else weights.classes,
        told_by=classes or str(folder / CLASSES),
        preprocessing=preprocessing,
        smallest_input=smallest_input,
        include_top=has_top,
        flip=trained.random_flip if trained else noted.get("flip", True),
        scale=None if trained else noted.get("scale"),
        training_digest=(read_training_digest(folder) or "") if trained else None,
        num_classes=weights.num_classes,
        weights=weights,
    )


def _noted_views(file: pathlib.Path) -> dict:
    """Returns `scale` and `flip` as the note of a `.keras` file says, if it does.

    Raises:
        InputError: if they are no scale and no flip.
    """
    note = preprocessing.read_note(file) if kinds.tell(file) is kinds.KERAS else None
    facts = json.loads(note) if note else None
    found = {name: facts[name] for name in VIEWS if name in facts} if isinstance(facts, dict) else {}
    scale, flip = found.get("scale", 1), found.get("flip", True)
    if type(scale) is not int or scale < 1 or type(flip) is not bool:
        raise InputError(
            f"Expected a number of pixels and whether to flip in a file's note. Received: {scale!r:.50}, {flip!r:.50}."
        )
    return found


def _without_top(path: pathlib.Path) -> InputError:
    return InputError(f"Expected a net with its top, to tell classes. Received: {path}, without.")


def _stamp(path: pathlib.Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
