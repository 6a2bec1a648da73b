"""Where channels stand in Keras' image data format."""

import keras
from keras import ops


def channel_axis() -> int:
    """Returns the axis of channels in a batch of images or maps: -1, or 1 where they come first."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def channels_last(maps):
    """Returns maps with their channels last: `(B, h, w, C)`, of their dtype."""
    return maps if channel_axis() == -1 else ops.transpose(maps, (0, 2, 3, 1))
