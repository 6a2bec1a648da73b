"""Plans an export before anything is written: finds and checks the net, its protocol, its labels and its card."""

import dataclasses
import os
from collections.abc import Sequence

import keras

from keras_vgg import preprocessing as preprocessing_of
from keras_vgg.configs import feature_layers
from keras_vgg.errors import InputError
from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.inference.class_labels import class_names
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.net_files import DEFAULT_SCALE, NetFile, open_net_file
from keras_vgg.inference.network import Network
from keras_vgg.inference.passes import check_scale
from keras_vgg.inference.views import Views
from keras_vgg.localisation.finder import Finder, open_finder
from keras_vgg.mixed_precision import in_precision
from keras_vgg.precision import FLOAT32, checked
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.serving import warm_up
from keras_vgg.serving.model_card import model_card, read_table
from keras_vgg.serving.signatures import Protocol
from keras_vgg.support import paths
from keras_vgg.support.counts import counted


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that an export depends on.

    Attributes:
        network: the net.
        preprocessing: the preprocessing of its weights.
        protocol: its test protocol.
        labels: class names in label order.
        card: contents of `model_card.json`.
        finder: the localizer that is exported with it, if any.
    """

    network: Network
    preprocessing: Preprocessing
    protocol: Protocol
    labels: tuple[str, ...]
    card: dict
    finder: Finder | None = None

    @property
    def weights(self) -> list:
        """The variables that are exported, those of the localizer last."""
        # Weights rather than all variables: dropout's are seeds, which differ each time and are useless here.
        nets: list[Network | Localiser] = [self.network, *([self.finder.localiser] if self.finder else [])]
        return [variable for net in nets for variable in net.kernel_copies.variables(net.model.weights)]


def plan_export(
    model_or_run: keras.Model | str | os.PathLike[str],
    *,
    dense: bool = True,
    scales: Sequence[int] | None = None,
    flip: bool | None = None,
    top_k: int = 5,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    features: str | None = None,
    average: str = "posteriors",
    pooling: str = "floor",
    preprocessing: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    licence: str | None = None,
    localiser: str | os.PathLike[str] | None = None,
    localiser_scales: Sequence[int] | None = None,
    merge_threshold: float | None = None,
    precision: str | None = None,
) -> Plan:
    """Returns the plan of an export; arguments as for `saved_model.export_saved_model`.

    Raises:
        InputError: for anything that the user can fix, as far as possible before the net is loaded.
    """
    _check_choices(top_k, features)
    if precision is not None:
        checked(precision)
    _check_localiser(dense, localiser, localiser_scales, merge_threshold)
    if evaluation is not None:
        read_table(evaluation)
    given = _given_labels(labels)
    if isinstance(model_or_run, keras.Model):
        source, network = None, Network(in_precision(model_or_run, precision), average=average, pooling=pooling)
    else:
        source = open_net_file(str(model_or_run), preprocessing=preprocessing)
        _check_scales(scales or (source.default_scale,), dense, source.smallest_input)
        network = source.load(average=average, pooling=pooling, precision=precision or FLOAT32)
    there = [name for name in feature_layers() if any(layer.name == name for layer in network.model.layers)]
    if features is None:
        features = there[0]
    if features not in there:
        raise InputError(f"`features` must be a layer of the net, {' or '.join(there)}. Received: features={features!r}.")
    scales = tuple(dict.fromkeys(scales or (_default_scale(source, network),)))
    _check_scales(scales, dense, network.crop)
    asked_to_flip = flip
    if flip is None:
        flip = source.flip if source else True  # as in evaluation
    protocol = Protocol(dense, scales, flip, min(top_k, network.classes), features)
    names = _own_labels(source, network) if given is None else given
    _check_labels(names, network.classes, "classes.txt of the run" if given is None else "`labels`")
    finder = None
    if localiser is not None:
        # Uses the class names of the net itself if it has some: labels are for people.
        classes = _own_labels(source, network) if source and source.classes else names
        finder = open_finder(
            os.fspath(localiser),
            classes,
            scales=localiser_scales,
            flip=bool(asked_to_flip),
            pooling=pooling,
            merge_threshold=merge_threshold,
            precision=precision or FLOAT32,
        )
        _check_scales(finder.scales, dense, finder.localiser.crop)
    wants = preprocessing_of.for_model(network.model)
    card = model_card(network, protocol, wants, names, source=source, evaluation=evaluation, licence=licence, finder=finder)
    return Plan(network, wants, protocol, names, card, finder)


def _own_labels(source: NetFile | None, network: Network) -> tuple[str, ...]:
    return source.class_names(network.classes) if source else class_names(None, network.classes)


def _default_scale(source: NetFile | None, network: Network) -> int:
    return max(source.default_scale if source else DEFAULT_SCALE, network.crop)


def _check_scales(scales, dense: bool, crop: int) -> None:
    for scale in scales:
        check_scale(Views("dense" if dense else "center", scale), crop)
        if dense and scale * scale * warm_up.ASPECT > MAX_PIXELS:
            raise InputError(
                f"`scales` must keep a 3:2 photograph within {MAX_PIXELS:,} pixels. Received: {scale}; pass a smaller scale."
            )


def _check_choices(top_k: int, features: str | None) -> None:
    if top_k < 1:
        raise InputError(f"`top_k` must be at least 1. Received: top_k={top_k}.")
    if features not in (None, *feature_layers()):
        raise InputError(f"`features` must be one of {', '.join(feature_layers())}. Received: features={features!r}.")


def _check_localiser(dense: bool, localiser, localiser_scales, merge_threshold) -> None:
    if localiser is None:
        for name, given in (("localiser_scales", localiser_scales), ("merge_threshold", merge_threshold)):
            if given is not None:
                raise InputError(f"`{name}` requires `localiser`. Received: {name}={given!r} without it.")
    elif not dense:
        raise InputError("`localiser` requires whole images and cannot be combined with dense=False (--no-dense).")


def _given_labels(labels) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        try:
            labels = paths.path_of(labels).read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"`labels` must be a text file with one class name per line. Received: {labels} ({error}).") from error
    return tuple(labels)


def _check_labels(names: tuple[str, ...], classes: int, origin: str) -> None:
    if len(names) != classes:
        raise InputError(f"{origin} must contain a name for each of the net's {counted(classes, 'class')}. Received: {len(names)}.")
    for name in names:
        if not isinstance(name, str) or not name.strip() or "\n" in name or "\r" in name:
            raise InputError(f"Each name in {origin} must be one line of text. Received: {name!r}.")
