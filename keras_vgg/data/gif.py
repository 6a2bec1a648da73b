"""The first frame of a GIF, found without decoding any.

A decoder makes all frames to give the first: one of two megabytes that holds 400 frames of 2000x2000 takes 1.6 GB and nine seconds.
"""

import tensorflow as tf

_HEADER, _DESCRIPTOR = 13, 10  # bytes
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, b"\x3b"
MAX_BLOCKS = 2**14
"""Most blocks that are walked through, a second's work: 4 MB of the usual 255 bytes each."""


def first_frame(encoded):
    """Returns a GIF cut off after its first frame, and that frame's size.

    Args:
        encoded: scalar string, a GIF as it seems; it may break off anywhere.

    Returns:
        `(encoded, size)`: scalar string; `[height, width]`, int32, zeros if there is no frame within `MAX_BLOCKS`.
    """
    content = tf.io.decode_raw(tf.strings.join([encoded, "\0"]), tf.uint8)  # a byte to look at, where there is none
    length = tf.size(content)

    def byte(at):
        return tf.cast(content[tf.minimum(at, length - 1)], tf.int32)

    def table(at):  # of colours, after a byte of flags
        flags = byte(at)
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def step(at, size, in_blocks, is_image):
        """Goes on by a block: of data within an extension or an image, or to the data of the next one."""
        to_image, to_extension = (tf.logical_and(tf.logical_not(in_blocks), byte(at) == mark) for mark in (_IMAGE, _EXTENSION))
        new_size = tf.stack([byte(at + 7) + 256 * byte(at + 8), byte(at + 5) + 256 * byte(at + 6)])
        # Whatever else stands where a block should begin, the trailer or damage, ends the search.
        new_at = tf.where(in_blocks, at + byte(at) + 1, length)
        new_at = tf.where(to_image, at + _DESCRIPTOR + table(at + _DESCRIPTOR - 1) + 1, new_at)
        new_at = tf.where(to_extension, at + 2, new_at)
        goes_on = tf.where(in_blocks, byte(at) != 0, tf.logical_or(to_image, to_extension))
        return new_at, tf.where(to_image, new_size, size), goes_on, tf.logical_or(is_image, to_image)

    def is_unfinished(at, size, in_blocks, is_image):
        return tf.logical_and(at < length, tf.logical_or(in_blocks, tf.logical_not(is_image)))

    start = (tf.minimum(_HEADER + table(_HEADER - 3), length), tf.zeros(2, tf.int32), tf.constant(False), tf.constant(False))
    end, size, in_blocks, is_image = tf.while_loop(is_unfinished, step, start, parallel_iterations=1, maximum_iterations=MAX_BLOCKS)
    # A walk cut short has seen no end of the frame, which could be of any length.
    size = tf.where(is_unfinished(end, size, in_blocks, is_image), 0, size)
    return tf.strings.join([tf.strings.substr(encoded, 0, end), _TRAILER]), size
