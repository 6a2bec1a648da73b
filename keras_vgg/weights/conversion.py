"""Converts weight files between formats, with a table of the converted variables."""

import dataclasses
import hashlib
import pathlib

import pandas as pd

from keras_vgg import preprocessing as wanted
from keras_vgg.support import files, paths
from keras_vgg.weights.saving import save_weights, suffix_of, with_swapped_colors
from keras_vgg.weights.weight_file import WeightFile, open_weights


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        source: the weights that were read, with colors swapped if requested.
        target: the file that was written.
        table: one row per variable: layer, variable, its name in the source, shape in Keras' layout, and checksum.
    """

    source: WeightFile
    target: pathlib.Path
    table: pd.DataFrame

    def __str__(self):
        lines = [self.table.to_string(index=False), "", f"from {self.source}", f"to {self.target}, {self._wanted()}"]
        if head := self.source.head:
            lines.append(f"its own head ({head}) does not belong to net {self.source.arch} and was not converted")
        return "\n".join(lines)

    def _wanted(self) -> str:
        wants, origin = self.source.preprocessing, self.source.origin
        if wants and origin:
            return wanted.statement(wants, origin)
        return "without preprocessing: the source does not record it (set it with --preprocessing)"


def convert(
    source: str | pathlib.Path,
    target: str | pathlib.Path,
    *,
    arch: str | None = None,
    swap_colors: bool = False,
    preprocessing: str | None = None,
) -> Conversion:
    """Converts a weight file of any format, or a run folder, to the format given by the suffix of `target`.

    Args:
        source: file or run folder to read.
        target: file to write, completely or not at all.
        arch: the net; inferred from the file by default.
        swap_colors: whether to reverse the first convolution's input channels, so that weights for BGR take RGB, or vice versa.
        preprocessing: `"caffe"` or `"torch"`: preprocessing of the source's weights, where the source does not record it.

    Raises:
        InputError: if the source is not a VGG net or the target cannot be written.

    Example:
        >>> import pathlib
        >>> import tempfile
        >>> from keras_vgg.models import build_vgg
        >>> from keras_vgg.weights.conversion import convert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = pathlib.Path(folder, "net.keras"), pathlib.Path(folder, "net.pth")
        ...     build_vgg("A", input_shape=(32, 32, 3), classes=10, width=1 / 16).save(source)
        ...     table = convert(source, target, preprocessing="torch").table
        >>> table[["layer", "variable", "shape"]].iloc[0].tolist()
        ['block1_conv1', 'kernel', '3x3x3x4']
    """
    target = paths.path_of(target)
    suffix_of(target)
    files.check_file(target)
    file = open_weights(source, arch=arch)
    file.checked_classes()
    if preprocessing:
        file = dataclasses.replace(file, preprocessing=wanted.BY_NAME[preprocessing], origin=wanted.GIVEN)
    if swap_colors:
        file = with_swapped_colors(file)
    table = describe(file)  # before saving, since the target may replace the source
    save_weights(file, target)
    return Conversion(file, target, table)


def describe(file: WeightFile) -> pd.DataFrame:
    """Returns one row per variable of a weight file.

    The checksum (the first 12 digits of the SHA-256 of the float32 values in Keras' layout) does not depend on the file
    format.
    """
    return pd.DataFrame(
        {
            "layer": layer,
            "variable": name,
            "name in the file": variable.array,
            "shape": "x".join(map(str, variable.shape)),
            "checksum": hashlib.sha256(variable.read().data).hexdigest()[:12],
        }
        for (layer, name), variable in file.variables.items()
    )
