"""Measures of posteriors: `errors` for images of one class each, `precision` for images of any number of classes."""

from types import ModuleType

from keras_vgg.evaluation.measures import errors, precision
from keras_vgg.evaluation.results import Posteriors


def measure_of(result: Posteriors) -> ModuleType:
    """Returns the module whose functions measure a result.

    - `figures(result)`: columns of its row in `table.json` and `table.csv`.
    - `shown(line)`: what of them people see, by the heading of the column.
    - `of_classes(result)`, `of_images(result)`: tables with a row for each class, and for each image.
    - `worst(result, most)`: places and descriptions of the images that it is most wrong about; `WORST` says what that is.
    - `write(folder, name, result)`: files that tell of single classes, called after `name`; returns lines on them for people.
    """
    return errors if result.labels.ndim == 1 else precision
