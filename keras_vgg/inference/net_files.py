"""The nets of an evaluation before loading: their files, training sets and class names."""

import dataclasses
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
from keras_vgg.support import files, paths
from keras_vgg.support.counts import counted
from keras_vgg.weights import kinds, weight_file
from keras_vgg.weights.weight_file import CLASSES

DEFAULT_SCALE = 256
VIEWS = ("scale", "flip")
"""What a note in a `.keras` file may record about evaluating its net: Q, and whether to use mirror images too."""

_TRIES = 5


@dataclasses.dataclass(frozen=True)
class NetFile:
    """A net that can be loaded.

    Attributes:
        name: its name in tables.
        path: the run folder or weight file.
        file: its weights.
        arch: the net of Table 1.
        training_scales: smallest and largest training scale S, `None` if unknown.
        scale: Q recorded in the file, `None` if there is none; see `descriptors.classifying_net`.
        classes: class names in label order, `None` if unknown.
        told_by: the file that contains the class names.
        preprocessing: the preprocessing set by the user, a key of `preprocessing.BY_NAME`.
        smallest_input: minimum of the input's shorter side in pixels, by the shape of fc1.
        include_top: whether it has its FC layers.
        flip: whether it was trained with mirror images, and so is tested with them by default; true if unknown.
        training_digest: `Dataset.training_digest` of its training set; "" for a run that does not record it, `None` for no run.
        num_classes: number of classes, `None` without its top.
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
        """The preprocessing and its origin, worded as in all commands; `InputError` if it is unknown.

        It also says if the net's head takes a whole feature map at once.
        """
        head = self.weights.head if self.weights else None
        sees_whole = head is not None and not head.has_score_map
        told = (
            "\nits head takes the whole feature map at once: a dense view is the net itself on the whole image"
            if sees_whole
            else ""
        )
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
        return InputError(f"{self.path} does not record its input preprocessing; pass --preprocessing caffe or torch.")

    @property
    def default_scale(self) -> int:
        """Q of the paper's single-scale test (Sec. 3.2): S, or the middle of the jitter range.

        If S is unknown: the Q recorded in the file, else 256, or the net's smallest input if that is larger.
        """
        if self.scale:
            return self.scale
        return max(sum(self.training_scales) // 2 if self.training_scales else DEFAULT_SCALE, self.smallest_input)

    @property
    def training_text(self) -> str:
        """S for tables: `256`, `[256;512]`, or empty."""
        if not self.training_scales:
            return ""
        smallest, largest = self.training_scales
        return str(smallest) if smallest == largest else f"[{smallest};{largest}]"

    def count_classes(self) -> int:
        """Returns the number of classes; `InputError` without its top."""
        if self.num_classes is None:
            raise _without_top(self.path)
        return self.num_classes

    def load_model(self, device: str | None = None, *, precision: str = FLOAT32) -> keras.Model:
        """Loads the model onto a device, with its preprocessing for `preprocessing.for_model`.

        Args:
            device: the device; by default TensorFlow's choice.
            precision: compute precision, one of `precision.PRECISIONS`, whatever it was trained in.

        Raises:
            InputError: if it cannot be loaded, its preprocessing is unknown, the file keeps being replaced, or the precision is
                unknown.
        """
        for _ in range(_TRIES):
            try:
                before = files.stamp(self.file)
            except OSError as error:
                raise InputError(f"{self.file} could not be read: {error.strerror or error}. Fetch or copy it again.") from error
            try:
                with tf.device(device):
                    model = transfer.load_model(self.file, precision=precision)
            except InputError:
                if not files.is_another(self.file, before):
                    raise
                continue
            if not files.is_another(self.file, before):
                break  # else `fit` has just replaced it by a new best net, and the weights may be mixed
        else:
            raise InputError(f"{self.file} changed each time it was read; try again once it is no longer being written.")
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
            InputError: as `load_model`, and if the net has no top for square inputs.
        """
        self.check_classifier()
        model = self.load_model(device, precision=precision)
        with tf.device(device):
            return Network(model, pooling=pooling, average=average, device=device)

    def check_classifier(self) -> None:
        """Raises `InputError` if the net is a localiser."""
        if self.regression is not None:
            raise InputError(
                f"Expected a classifier. Received: {self.path}, a localiser; test it with python -m keras_vgg.localise, "
                "or pass it to predict or export as --localiser."
            )

    @property
    def regression(self) -> str | None:
        """The regression of a localiser, `"scr"` or `"pcr"`; `None` for a classifier."""
        return self.weights.regression if self.weights else None

    def load_localiser(self, *, device: str | None = None, pooling: str = "floor", precision: str = FLOAT32) -> Localiser:
        """Loads a localiser onto a device; arguments as for `load_model` and `Localiser`.

        Raises:
            InputError: as `load_model`, and if it is a classifier.
        """
        if self.regression is None:
            raise InputError(
                f"Expected a localiser trained by `keras_vgg.fit --task localisation`. Received: {self.path}, a classifier."
            )
        model = self.load_model(device, precision=precision)
        with tf.device(device):
            return Localiser(model, self.regression, pooling=pooling, device=device)

    def class_names(self, num_classes: int) -> tuple[str, ...]:
        """Returns the net's class names in label order; see the function of this name.

        Args:
            num_classes: number of the net's classes.

        Raises:
            InputError: if the file beside the weights lists more or fewer.
        """
        if self.classes is not None and len(self.classes) != num_classes:
            raise InputError(
                f"{self.told_by or CLASSES} must list the net's {counted(num_classes, 'class')}. Received: {len(self.classes)}; "
                "fix or delete it."
            )
        return class_names(self.classes, num_classes)

    def labels_of(self, dataset_classes: tuple[str, ...], num_classes: int, *, say: Callable[[str], None] = print) -> np.ndarray:
        """Returns the net's label for each class of a dataset; see the function of this name."""
        return labels_of(dataset_classes, self.classes, num_classes, told=str(self.path), say=say)


def open_net_file(
    run_or_file: str,
    *,
    name: str | None = None,
    preprocessing: str | None = None,
    classes: str | None = None,
    needs_top: bool = True,
) -> NetFile:
    """Finds a net and its metadata, without loading it.

    Args:
        run_or_file: a run folder of `keras_vgg.fit`, or a weight file of any kind.
        name: name in tables; by default the net's letter.
        preprocessing: `"caffe"` or `"torch"`, if the file does not record its preprocessing.
        classes: a file of class names, see `class_labels.read_class_names`, which overrides the one beside the weights.
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
    """Returns `scale` and `flip` from the note of a `.keras` file, if recorded.

    Raises:
        InputError: if their values are invalid.
    """
    facts = preprocessing.read_facts(file) if kinds.tell(file) is kinds.KERAS else {}
    found = {name: facts[name] for name in VIEWS if name in facts}
    scale, flip = found.get("scale", 1), found.get("flip", True)
    if type(scale) is not int or scale < 1 or type(flip) is not bool:
        raise InputError(
            f"A file's note must have a whole-number `scale` and a Boolean `flip`. Received: {scale!r:.50}, {flip!r:.50}."
        )
    return found


def _without_top(path: pathlib.Path) -> InputError:
    return InputError(f"Expected a net with its top. Received: {path}, which has none.")
