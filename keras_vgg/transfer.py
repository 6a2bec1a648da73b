"""Starting a net from another: net A for the deeper nets (Sec. 3.1), or the same net trained before."""

import dataclasses
import pathlib
import zipfile

import keras

from keras_vgg import layers  # noqa: F401  (registers the layers that a file may hold)
from keras_vgg.errors import InputError

NET_A_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2", "fc1", "fc2", "predictions")
"""Net A's first four convolutions and its FC layers: what the paper copies into the deeper nets.

By position they would not fit: the first four convolutions of nets B–E have 64, 64, 128, 128 filters. By block and name they do.
"""


@dataclasses.dataclass(frozen=True)
class Transferred:
    """What a transfer did.

    Attributes:
        copied: names of the layers that were copied.
        left_random: names of the layers with weights that kept their initialisation, each with the reason.
    """

    copied: tuple[str, ...]
    left_random: dict[str, str]

    def __str__(self):
        lines = [f"copied: {', '.join(self.copied) or 'nothing'}"]
        lines += [f"left as initialised: {name} ({reason})" for name, reason in self.left_random.items()]
        return "\n".join(lines)


def init_from_net_a(model: keras.Model, net_a: keras.Model) -> Transferred:
    """Copies net A's first four convolutions and its FC layers into a deeper net (Sec. 3.1).

    Layers are matched by block and name. `fc1`, `fc2` and `predictions` are copied where their shapes allow, so that a net
    with other classes keeps a random `predictions`.

    Args:
        model: a net of `build_vgg`, changed in place.
        net_a: a trained net A of the same width.

    Returns:
        What was copied and what was left random.

    Raises:
        InputError: if no convolution fits, as between nets of different width.
    """
    return _copy(model, net_a, NET_A_LAYERS)


def init_from_same_net(model: keras.Model, source: keras.Model) -> Transferred:
    """Copies every layer that fits, matched by name: S=384 from S=256, or new classes on old features.

    Returns and raises as `init_from_net_a`.
    """
    return _copy(model, source, tuple(layer.name for layer in source.layers if layer.weights))


def init_from(model: keras.Model, source: keras.Model) -> Transferred:
    """Starts `model` from `source` as the paper would: the same net whole, or net A into a deeper one.

    Raises:
        InputError: if `source` is neither.
    """
    ours, theirs = _convolutions(model), _convolutions(source)
    if ours == theirs:
        return init_from_same_net(model, source)
    if [name for name, _ in theirs] == [
        f"block{b}_conv{c}" for b, c in ((1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2))
    ]:
        return init_from_net_a(model, source)
    raise InputError(
        f"`init_from` takes the same net or net A. Received: {source.name} with {len(theirs)} convolutions "
        f"for {model.name} with {len(ours)}."
    )


def find_model(run_or_file: str | pathlib.Path) -> pathlib.Path:
    """Returns the `.keras` file of a run folder of `keras_vgg.fit` (its `best.keras`), or the file that is named itself.

    Raises:
        InputError: if there is no such file or it is no archive.
    """
    path = pathlib.Path(run_or_file)
    if path.is_dir():
        path = path / "best.keras"
    if not path.is_file():
        raise InputError(f"Expected a run folder with best.keras, or a .keras file. Received: {run_or_file} (no {path}).")
    if not zipfile.is_zipfile(path):
        raise InputError(f"Expected a .keras file (a zip archive). Received: {path}, which is damaged or of another kind.")
    return path


def load_model(run_or_file: str | pathlib.Path) -> keras.Model:
    """Returns the model that `find_model` finds.

    Raises:
        InputError: if there is none or Keras cannot load it.
    """
    path = find_model(run_or_file)
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever comes up within a damaged archive, or one that holds no model
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"Expected a .keras file that Keras can load. Received: {path} ({reason}).") from error


def _convolutions(model):
    # Names with kernel sizes: net C differs from net D in these alone.
    return [(layer.name, tuple(layer.kernel_size)) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def _copy(model, source, names) -> Transferred:
    sources = {layer.name: layer for layer in source.layers if layer.name in names}
    copied, left_random = [], {}
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name not in sources:
            left_random[layer.name] = "not taken from the source"
            continue
        values = sources[layer.name].get_weights()
        wanted, found = [tuple(w.shape) for w in layer.weights], [value.shape for value in values]
        if wanted != found:
            left_random[layer.name] = f"needs shape {wanted[0]}, the source has {found[0]}"
            continue
        layer.set_weights(values)
        copied.append(layer.name)
    if not any("conv" in name for name in copied):
        raise InputError(
            f"No convolution of {source.name} fits {model.name}: nets must share their width and channels. "
            f"E.g. {next(iter(left_random.items()), '')}."
        )
    return Transferred(tuple(copied), left_random)
