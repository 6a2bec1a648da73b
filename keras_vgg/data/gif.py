"""The first frame of a GIF, found without decoding, and its canvas.

A decoder decodes all frames to return the first: a GIF of two megabytes with 400 frames of 2000x2000 takes 1.6 GB and nine
seconds. TensorFlow's ignores the canvas, uses the largest frame's size, and makes transparent pixels black. The intended result
is Pillow's: the first frame at its position, without transparency, surrounded by the transparent color or else the first one.
"""

from typing import NamedTuple

import tensorflow as tf

_HEADER, _DESCRIPTOR = 13, 10  # bytes
_EXTENSION, _CONTROL, _IMAGE, _TRAILER = 0x21, 0xF9, 0x2C, b"\x3b"
_TABLE_BYTES = [0] * 128 + [3 * 2 ** (flags % 8 + 1) for flags in range(128, 256)]  # of a color table, by the byte before it
_FULL, _AT_ONCE = 255, 1024  # bytes of a full block, the usual case; full blocks per step
MAX_STEPS = 2**14
"""Maximum number of steps, about a second: each skips one block, or many full ones."""


class FirstFrame(NamedTuple):
    """The first frame of a GIF.

    Args:
        encoded: scalar string, a GIF of only this frame, without transparency.
        size: `[height, width]` of the canvas, int32, enlarged to contain the frame; zeros if no complete frame was found.
        box: `[top, left, height, width]` of the frame on the canvas, int32.
        color: `(3,)` uint8, RGB, of the canvas around the frame.
    """

    encoded: tf.Tensor
    size: tf.Tensor
    box: tf.Tensor
    color: tf.Tensor


def first_frame(encoded) -> FirstFrame:
    """Finds the first frame of a GIF.

    Args:
        encoded: scalar string, presumably a GIF; it may be truncated anywhere.
    """
    return FirstFrame(*_first_frame(encoded))


def on_canvas(pixels, frame: FirstFrame):
    """Returns the canvas, `(height, width, 3)` uint8, with the frame's `pixels` at their position."""
    before, after = frame.box[:2], frame.size - frame.box[:2] - tf.shape(pixels)[:2]
    paddings = tf.concat([tf.stack([before, after], axis=1), [[0, 0]]], axis=0)
    return tf.pad(pixels - frame.color, paddings) + frame.color  # uint8 wraps around, there and back


# A loop of thousands of steps would be slow eagerly.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _first_frame(encoded):
    content = tf.io.decode_raw(tf.strings.join([encoded, "\0"]), tf.uint8)  # at least one byte, to allow reading
    length = tf.size(content)

    def read(places):  # few operations for any number of places
        return tf.cast(tf.gather(content, tf.minimum(places, length - 1)), tf.int32)

    def numbers(places):  # of two bytes, the lower one first
        return tf.reduce_sum(read(tf.expand_dims(places, 1) + tf.range(2)) * [1, 256], axis=1)

    def step(at, in_blocks, image, transparent):
        """Skips data blocks within an extension or an image, or moves to the data of the next one."""
        here, label, control, index, flags = tf.unstack(read(at + tf.constant([0, 1, 3, 6, _DESCRIPTOR - 1])))
        to_image, to_extension = (tf.logical_and(tf.logical_not(in_blocks), here == mark) for mark in (_IMAGE, _EXTENSION))
        is_full = content[at : at + (_FULL + 1) * _AT_ONCE : _FULL + 1] == _FULL
        full = tf.reduce_sum(tf.math.cumprod(tf.cast(is_full, tf.int32)))
        # Anything else where a block should begin, the trailer or damage, ends the search.
        new_at = tf.where(in_blocks, at + tf.where(full > 0, (_FULL + 1) * full, here + 1), length)
        new_at = tf.where(to_image, at + _DESCRIPTOR + tf.gather(_TABLE_BYTES, flags) + 1, new_at)
        new_at = tf.where(to_extension, at + 2, new_at)
        says_transparent = tf.reduce_all([to_extension, label == _CONTROL, control % 2 == 1])
        goes_on = tf.where(in_blocks, here != 0, tf.logical_or(to_image, to_extension))
        return new_at, goes_on, tf.where(to_image, at, image), tf.where(says_transparent, index, transparent)

    def is_unfinished(at, in_blocks, image, transparent):
        return tf.logical_and(at < length, tf.logical_or(in_blocks, image == 0))

    begin = tf.minimum(_HEADER + tf.gather(_TABLE_BYTES, read(_HEADER - 3)), length)
    found = tf.while_loop(
        is_unfinished,
        step,
        (begin, tf.constant(False), tf.constant(0), tf.constant(0)),
        parallel_iterations=1,
        maximum_iterations=MAX_STEPS,
    )
    end, in_blocks, image, transparent = found
    # A truncated frame does not count, nor one whose end was not reached, which could be of any length.
    is_whole = tf.logical_and(image > 0, tf.logical_and(tf.logical_not(in_blocks), end < length))
    box = numbers(image + tf.constant([3, 1, 7, 5]))
    size = tf.maximum(numbers([8, 6]), box[:2] + box[2:])
    size = tf.where(tf.logical_and(is_whole, tf.reduce_min(box[2:]) > 0), size, 0)
    colors = tf.where(read(image + _DESCRIPTOR - 1) >= 128, image + _DESCRIPTOR, _HEADER) + 3 * transparent
    color = tf.cast(read(colors + tf.range(3)), tf.uint8)
    # Without extensions, which may define transparency, and at the origin, since TensorFlow would shift it otherwise.
    descriptor = tf.strings.join(["\x2c\0\0\0\0", tf.strings.substr(encoded, tf.minimum(image + 5, length - 1), end - image - 5)])
    alone = [tf.strings.substr(encoded, 0, begin), descriptor, _TRAILER]
    return tf.strings.join(alone), size, box, color
