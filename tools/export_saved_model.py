"""`python -m keras_vgg.export` from a checkout: `python tools/export_saved_model.py --model runs/d-jitter --out models/vgg`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # uses this checkout, whatever is installed

from keras_vgg import export
from keras_vgg.support import entry

if __name__ == "__main__":
    entry.run(export.main)
