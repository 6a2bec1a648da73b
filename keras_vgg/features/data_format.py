"""The channel axis in Keras' image data format."""

import keras
from keras import ops


def channel_axis() -> int:
    """Returns the channel axis of a batch of images or maps: -1, or 1 for channels first."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def channels_last(maps):
    """Returns maps with channels last: `(B, h, w, C)`, with their dtype."""
    return maps if channel_axis() == -1 else ops.transpose(maps, (0, 2, 3, 1))
