import base64
import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg.data import decoding, image_headers, images

HEIGHT, WIDTH = 93, 141  # no multiples of a block of 8 or 16


def photograph(mode="RGB"):
    """Smooth colour and noise, which have all frequencies."""
    noise = np.random.default_rng(0).normal(0, 30, (HEIGHT, WIDTH, 3))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH, 0:1][:2]
    waves = 128 + 90 * np.sin(rows / 9 + np.arange(3)) * np.cos(columns / 14)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def encode(mode="RGB", **options):
    buffer = io.BytesIO()
    photograph(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_pillow(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


KINDS = {
    "baseline 4:2:0": {"subsampling": "4:2:0"},
    "baseline 4:2:2": {"subsampling": "4:2:2"},
    "baseline 4:4:4": {"subsampling": "4:4:4"},
    "progressive 4:2:0": {"subsampling": "4:2:0", "progressive": True},
    "progressive 4:4:4": {"subsampling": "4:4:4", "progressive": True},
    "grey": {"mode": "L"},
    "low quality": {"quality": 20},
    "high quality": {"quality": 98},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_jpegs_are_decoded_to_pillows_pixels(options):
    encoded = encode(**options)
    expected = with_pillow(encoded)
    np.testing.assert_array_equal(decoding.decode_image(encoded), expected)
    np.testing.assert_array_equal(decoding.decode_jpeg(encoded), expected)
    np.testing.assert_array_equal(images.decode_whole(tf.constant(encoded), tf.constant([HEIGHT, WIDTH])), expected)


@pytest.mark.parametrize("box", [(0, 0, 48, 64), (16, 32, 40, 50), (37, 51, 33, 47), (60, 90, 33, 51), (5, 139, 9, 1)])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_window_of_a_jpeg_is_that_of_pillows_whole_image(options, box):
    encoded = encode(**options)
    top, left, height, width = box
    expected = with_pillow(encoded)[top : top + height, left : left + width]
    np.testing.assert_array_equal(decoding.decode_jpeg_window(encoded, tf.constant(box), WIDTH), expected)


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_window_of_a_reduced_jpeg_is_that_of_the_whole_reduced_image(options, reduction):
    encoded = encode(**options)
    whole = decoding.decode_jpeg(encoded, reduction).numpy()
    height, width = whole.shape[:2]
    for top, left, bottom, right in [(0, 0, height, width), (1, 2, height - 2, width - 3), (3, 5, height, width)]:
        pixels = decoding.decode_jpeg_window(encoded, tf.constant([top, left, bottom - top, right - left]), WIDTH, reduction)
        np.testing.assert_array_equal(pixels, whole[top:bottom, left:right])


SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data" / "imagenet_sample_100"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/")
def test_photographs_are_decoded_to_pillows_pixels():
    for path in sorted(SHARED.glob("*.JPEG")):
        encoded = path.read_bytes()
        np.testing.assert_array_equal(decoding.decode_image(encoded), with_pillow(encoded), err_msg=path.name)


COARSE = base64.b85decode(
    b"|JeWF01!$>Nk#wx0RR9200961|JwjV01XKW3knDg3knMk4h;_zAQcl55)&sJ9v2`kDKRiEDJ?8BI!Zn>HbyrrEkIX6ModmpQ&KWMT47pHU`kO^"
    b"PygEhLjevB4iga*CKVMXPc<zyPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPf!2A01*fPKmbq!0YU%*5di}c"
    b"0sq7R8vp<U0RaI40RR9100000000041p@{G2Lb=Y03r|o0R#g900IL600000000000Rsdf0ueD11tJp^QDOhY02%=R0s{d7000000000000004"
    b"1_A>G0SEuY038tk0s{a80RaF200000000011ONg91rZYx6#v=)3<CiG0ucid06zfjVmO*X@5-J;WxkqQB1wHVwrLt_X)J3g$>*fmlj&@SCVj1v"
    b")}9sUK^{`YVJjo)>!Z=0O0t_SqM_->6GzW*o%ZQUB;HwFiIvkwCD%opDQ(#9Pl;5F4AuP5QCv-c3doqB(F~_1`T#vFpPpbvhL*9`(-`wtT{q5h"
    b"`ROiX<+~!tn!8&lvzqAFJl90oS!HC0m3C*naecl-^!Hb&P)D1VzPeV2DQe3sNnLdI<fYe7pE8T+u?-fBEbquXtK>B#Y6!8Fad}t7&l09B*)hqh"
    b"zJMNPX0}RmHS_>!@3m@ri`%VVOHQ4b>#iH+8Fj%KF&5~U>^0vG<~%Ck*XUOTU-<t3@SN|*-vosiJG0!{<Xr(lIfh}ct`*_LTB5U2SI-ROMqMo*"
    b"jX=H>;=$z<u!r^Ggot#sHL~4s&I`mk4n}bkBdyUT$m{EX2W2uHtrIeX_TT`yuOM%3=05HZLp#{f(x`nSCb%yARM!d5MosXg6ExBkamhT3NX;}$"
    b"ecW~n!mnX(qa(@Q-;_nLVK>5rc2cN&7L!I28BHw`v3WK*9rXT>;PPvxPr8~p&b4o^kt^YTyiAQLgxb)8#!p-TDoM>YqMnn`06L4_`S&o|y@s}*"
    b"|Je"
)
"""Waves of color in 64x80 pixels, of which groups of 4x2 share their chroma: Pillow reads such files and does not write them."""


def test_reduced_view_of_a_jpeg_with_coarse_chroma_is_that_of_the_whole_image():
    """Of libjpeg-turbo's windows of half the resolution, parts are arbitrary."""
    assert image_headers.has_coarse_chroma(COARSE)
    crop = 24
    expected = np.asarray(Image.fromarray(with_pillow(COARSE)).resize((30, crop), Image.Resampling.BOX), np.int32)[:, 3:27]
    found = images.decode_view(COARSE, crop, 0.5, 0.5, tf.constant(False), crop).numpy()
    assert np.abs(found - expected).max() < 20


def test_usual_chroma_is_not_coarse():
    for options in KINDS.values():
        assert not image_headers.has_coarse_chroma(encode(**options))
    assert not image_headers.has_coarse_chroma(b"\xff\xd8\xff\xc0\x00\x11\x08")
