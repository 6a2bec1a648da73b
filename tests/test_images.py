import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg import randomness
from keras_vgg.data import images
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import in_memory

ALMOST_ONE = 1 - 2.0**-24  # the largest fraction that a draw gives


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(height, width):
    """Red tells the column, green the row; blue waves, some six times over the image."""
    rows, columns = np.mgrid[0:height, 0:width]
    y, x = (rows + 0.5) / height, (columns + 0.5) / width
    channels = 255 * x, 255 * y, 128 + 60 * np.sin(6 * np.pi * x) * np.cos(6 * np.pi * y)
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def view(encoded, scale, top=0.5, left=0.5, mirrored=False, crop=32):
    return images.decode_view(tf.constant(encoded), scale, tf.constant(top), tf.constant(left), tf.constant(mirrored), crop).numpy()


def whole(encoded, size):
    return images.decode_whole(tf.constant(encoded), tf.constant(size)).numpy()


def mean_color(pixels):
    return pixels.reshape(-1, 3).mean(0)


def crop_of_rescaled(image, scale, top, left, crop):
    """What a view is: the whole image rescaled with PIL, then cropped."""
    zoom = scale / min(image.size)
    rescaled = image.resize([round(side * zoom) for side in image.size], Image.Resampling.BILINEAR)
    x, y = (int(fraction * (side - crop + 1)) for fraction, side in zip((left, top), rescaled.size, strict=True))
    return np.asarray(rescaled.crop((x, y, x + crop, y + crop)), np.float32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (0.5, 0.5), (ALMOST_ONE, ALMOST_ONE), (0.2, 0.9)])
@pytest.mark.parametrize(
    ("height", "width", "scale", "crop"),
    [(120, 90, 90, 64), (150, 400, 100, 64), (64, 64, 64, 64), (70, 50, 120, 96), (500, 300, 80, 32), (900, 1300, 40, 32)],
)
def test_view_is_a_crop_of_the_rescaled_image(kind, top, left, height, width, scale, crop):
    image = gradient(height, width)
    pixels = view(encode(image, kind, **({"quality": 95} if kind == "JPEG" else {})), scale, top, left, crop=crop)
    expected = crop_of_rescaled(image, scale, top, left, crop)
    # The window is rounded to whole pixels of the original, which moves it by up to a pixel of either image.
    pixel = 255 * max(1 / min(height, width), 1 / scale)
    difference = np.abs(pixels - expected)
    assert difference[..., :2].max() < 1.5 * pixel + 3
    assert difference[..., :2].mean() < 0.7 * pixel + 1
    assert difference[..., 2].mean() < 0.7 * pixel + 2


@pytest.mark.parametrize("sides", [(40, 60), (60, 40), (500, 400), (1500, 2000)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_corners_are_reached(kind, sides):
    encoded = encode(gradient(*sides), kind)
    pixel = 255 * 2 / 40
    first = view(encoded, 40, 0.0, 0.0)
    assert first[0, 0, 0] < pixel
    assert first[0, 0, 1] < pixel
    last = view(encoded, 40, ALMOST_ONE, ALMOST_ONE)
    assert last[-1, -1, 0] > 255 - pixel
    assert last[-1, -1, 1] > 255 - pixel


def test_window_by_hand():
    # 400x600 to S=200 halves it: 200x300, the crop of 100 has 101 and 201 places.
    def window(top, left):
        return images.place(400, 600, 200, tf.constant(top), tf.constant(left), 100).window.numpy().tolist()

    assert window(0.0, 0.0) == [0, 0, 200, 200]
    assert window(0.5, 0.5) == [100, 200, 200, 200]
    assert window(ALMOST_ONE, ALMOST_ONE) == [200, 400, 200, 200]
    assert window(1.0, 1.0) == [200, 400, 200, 200]
    assert window(0.01, 0.01) == [2, 4, 200, 200]  # place 1 of 101, place 2 of 201


def test_window_lies_within_the_image_whatever_its_size():
    crop = 224
    window = tf.function(lambda *arguments: images.place(*arguments, crop).window)
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 5000), (5000, 1), (1, 65500), (65500, 1), (2, 3), (31, 7000), (6000, 8000), (224, 224), (225, 223)]
    sizes += [tuple(size) for size in np.exp(random.uniform(0, np.log(9000), (150, 2))).astype(int)]
    for height, width in sizes:
        for top, left in [(0.0, 0.0), (ALMOST_ONE, ALMOST_ONE), *random.random((3, 2))]:
            scale = int(random.integers(crop, 513))
            numbers = (tf.constant(number) for number in (height, width, scale))
            fractions = (tf.constant(fraction, tf.float32) for fraction in (top, left))
            y, x, rows, columns = window(*numbers, *fractions).numpy()
            # The rescaled image has whole sides: half a pixel of it may be cut or missing at the far end.
            rounding = 1 + 0.5 * min(height, width) / scale
            told = (height, width, scale, top, left, y, x, rows, columns)
            beyond = 1e-6 * max(height, width)  # windows in small images are no whole numbers
            assert 0 <= y < y + rows <= height + beyond, told
            assert 0 <= x < x + columns <= width + beyond, told
            assert abs(rows - columns) <= rounding, told  # the image keeps its proportions
            assert abs(max(rows, columns) - crop * min(height, width) / scale) <= 1, told
            if top == left == 0:
                assert y == x == 0, told
            if top == left == ALMOST_ONE and max(height, width) < 10000:
                assert height - y - rows <= rounding, told
                assert width - x - columns <= rounding, told


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2), (31, 33)])
def test_images_smaller_than_the_crop_and_thin_ones(kind, size):
    height, width = size
    encoded = encode(Image.new("RGB", (width, height), (200, 60, 30)), kind)
    for fraction in (0.0, 0.5, ALMOST_ONE):
        pixels = view(encoded, 36, fraction, fraction)
        assert pixels.shape == (32, 32, 3)
        np.testing.assert_allclose(pixels, np.broadcast_to([200, 60, 30], pixels.shape), atol=4)


SMALL = [(8, 8, 32, 36), (8, 8, 32, 32), (31, 40, 32, 33), (5, 70, 32, 50), (70, 11, 48, 55), (1, 9, 32, 36), (28, 28, 64, 91)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("height", "width", "crop", "scale"), SMALL)
def test_a_view_of_a_small_image_is_exactly_a_crop_of_the_rescaled_one(kind, height, width, crop, scale):
    """Of all that it can be; a window in whole pixels of the image would be off by up to half of those."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    encoded = encode(Image.fromarray(pixels), kind)
    size = images.rescaled_size(height, width, scale).numpy()
    rescaled = whole(encoded, size)
    rows, columns = size - crop + 1
    random = np.random.default_rng(1)
    for _ in range(12):
        y, x = random.integers(rows), random.integers(columns)
        fractions = np.float32([(y + 0.5) / rows, (x + 0.5) / columns])
        expected = rescaled[y : y + crop, x : x + crop]
        np.testing.assert_array_equal(view(encoded, scale, *fractions, crop=crop), expected)
        np.testing.assert_array_equal(view(encoded, scale, *fractions, mirrored=True, crop=crop), expected[:, ::-1])


def test_a_small_image_has_as_many_views_as_the_rescaled_one_has_crops():
    """8x8 at S = 36 has 5x5 crops of 32, where whole pixels of the image would leave 2x2."""
    encoded = encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)))
    places = np.float32([(place + 0.5) / 5 for place in range(5)])
    views = {view(encoded, 36, top, left).tobytes() for top in places for left in places}
    assert len(views) == 25
    windows = images.place(8, 8, 36, np.tile(places, 5), np.repeat(places, 5), 32).window.numpy()
    assert len(np.unique(windows, axis=0)) == 25
    np.testing.assert_allclose(windows[:, 2:], 64 / 9, rtol=1e-6)
    np.testing.assert_allclose(windows[:5, 0], np.arange(5) * 2 / 9, atol=1e-6)


def test_views_of_an_image_of_the_size_of_the_crop_remain_in_whole_pixels():
    windows = [images.place(32, 40, scale, 0.7, 0.3, 32).window.numpy() for scale in range(32, 64)]
    np.testing.assert_array_equal(windows, np.round(windows))


def test_place_in_a_thin_image():
    encoded = encode(gradient(2, 1000))
    for left in (0.1, 0.5, 0.9):
        assert mean_color(view(encoded, 36, 0.5, left))[0] == pytest.approx(255 * left, abs=2)


COLOR = (200, 60, 30)


def solid(mode="RGB"):
    return Image.new("RGB", (50, 40), COLOR).convert(mode)


def palette_with_transparency():
    image = Image.new("P", (50, 40), 1)
    image.putpalette([0, 0, 0, *COLOR])
    return encode(image, "PNG", transparency=0)


def animation():
    return encode(solid(), "GIF", save_all=True, append_images=[Image.new("RGB", (50, 40), (0, 0, 255))])


GREY = (98, 98, 98)  # luma of the colour: 0.299 R + 0.587 G + 0.114 B


@pytest.mark.parametrize(
    ("encoded", "expected", "tolerance"),
    [
        pytest.param(encode(solid(), "JPEG"), COLOR, 3, id="jpeg"),
        pytest.param(encode(solid(), "JPEG", progressive=True), COLOR, 3, id="progressive jpeg"),
        pytest.param(encode(solid("L"), "JPEG"), GREY, 1, id="grey jpeg"),
        pytest.param(encode(solid("CMYK"), "JPEG"), COLOR, 3, id="cmyk jpeg"),
        pytest.param(encode(solid(), "PNG"), COLOR, 0, id="png"),
        pytest.param(encode(solid("L"), "PNG"), GREY, 0, id="grey png"),
        pytest.param(encode(solid("LA"), "PNG"), GREY, 0, id="grey png with alpha"),
        pytest.param(encode(solid("RGBA"), "PNG"), COLOR, 0, id="png with alpha"),
        pytest.param(encode(solid().quantize(4), "PNG"), COLOR, 1, id="palette png"),
        pytest.param(palette_with_transparency(), COLOR, 0, id="palette png with transparency"),
        pytest.param(encode(Image.fromarray(np.full((40, 50), 156 * 257, np.uint16))), (156,) * 3, 0, id="16-bit png"),
        pytest.param(encode(Image.new("1", (50, 40), 1)), (255,) * 3, 0, id="1-bit png"),
        pytest.param(encode(solid().quantize(4), "GIF"), COLOR, 1, id="gif"),
        pytest.param(animation(), COLOR, 1, id="first frame of a gif"),
        pytest.param(encode(solid(), "BMP"), COLOR, 0, id="bmp"),
        pytest.param(encode(solid("L"), "BMP"), GREY, 0, id="grey bmp"),
        pytest.param(encode(solid(), "WEBP", lossless=True), COLOR, 0, id="lossless webp"),
        pytest.param(encode(solid(), "WEBP"), COLOR, 3, id="webp"),
    ],
)
def test_colors_of_every_kind_of_image(encoded, expected, tolerance):
    for pixels in (view(encoded, 36), whole(encoded, [36, 45])):
        assert pixels.dtype == np.uint8
        np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=tolerance)
    assert images.encoded_size(tf.constant(encoded)).numpy().tolist() == [40, 50]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_reduced_jpeg_of_any_mode_is_at_its_place(mode):
    image = gradient(1200, 1000).convert(mode)
    expected = np.asarray(image.convert("RGB").resize((40, 48), Image.Resampling.BOX), np.float32)[:32, 8:]
    pixels = view(encode(image, "JPEG", quality=95), 40, 0.0, ALMOST_ONE)
    np.testing.assert_allclose(pixels, expected, atol=10)
    assert np.abs(pixels - expected).mean() < 3


@pytest.mark.parametrize("reduction", [1, 2, 4, 8, 20])
def test_reduced_jpeg_agrees_with_averaging(reduction):
    # The window is `reduction` times the crop, and not on the decoder's grid.
    crop, side = 32, 40 * reduction + 5
    image = gradient(side, side + 3 * reduction)
    pixels = view(encode(image, "JPEG", quality=95), 40, 0.3, 0.7, crop=crop)
    y, x, rows, columns = (
        images.place(side, side + 3 * reduction, 40, tf.constant(0.3), tf.constant(0.7), crop).pixels.numpy().tolist()
    )
    expected = image.crop((x, y, x + columns, y + rows)).resize((crop, crop), Image.Resampling.BOX)
    difference = np.abs(pixels - np.asarray(expected, np.float32))
    pixel = 255 / 40  # the window is rounded to the decoder's grid, which moves it by less than a pixel of the crop
    assert difference[..., :2].max() < pixel + 3
    assert difference[..., :2].mean() < 0.7 * pixel


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("reduction", [4, 8, 16])
def test_reduction_averages_instead_of_skipping(kind, reduction):
    noise = np.random.default_rng(0).normal(128, 40, (32 * reduction, 32 * reduction, 1)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(noise, 3, -1))
    pixels = view(encode(image, kind, **({"quality": 100} if kind == "JPEG" else {})), 32)
    assert mean_color(pixels) == pytest.approx([128] * 3, abs=2)
    # The mean of reduction² pixels has deviation 40 / reduction; two-tap interpolation alone would leave 20 or more.
    assert pixels.std() < 2 * 40 / reduction


@pytest.mark.parametrize("side", [20, 33, 47, 64, 101, 333])
def test_white_stays_white(side):
    """However it is resized: one rounding error above 255 would come out black."""
    assert (view(encode(Image.new("RGB", (side, side + 7), (255,) * 3)), 32) == 255).all()


def test_photograph_of_48_megapixels():
    columns = Image.linear_gradient("L").rotate(90).resize((8000, 6000))
    encoded = encode(Image.merge("RGB", (columns, Image.new("L", columns.size, 90), Image.new("L", columns.size, 20))), "JPEG")
    for left in (0.0, 0.5, ALMOST_ONE):
        pixels = view(encoded, 256, 0.5, left, crop=224).astype(np.float32)
        room = 1 - 224 / (256 * 8 / 6)  # share of the width that the crop can move over
        expected = 255 * (left * room + (np.arange(224) + 0.5) / (256 * 8 / 6))
        np.testing.assert_allclose(pixels[..., 0], np.broadcast_to(expected, (224, 224)), atol=4)
        np.testing.assert_allclose(pixels[..., 1:], np.broadcast_to([90, 20], (224, 224, 2)), atol=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_mirrored_view(kind):
    encoded = encode(gradient(90, 120), kind)
    plain, mirrored = (view(encoded, 40, 0.2, 0.7, flag) for flag in (False, True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert not np.array_equal(mirrored, plain)


def test_eager_equals_dataset_map():
    everything = [encode(gradient(90, 120), kind) for kind in ("PNG", "JPEG", "BMP")] + [encode(gradient(700, 600), "JPEG")]
    keys = randomness.example_key(1, tf.range(len(everything), dtype=tf.int64))

    def drawn(encoded, key):
        return images.decode_view(encoded, *images.draw_view(key, scales=(32, 60), flip=True, seed=3), crop=32)

    mapped = tf.data.Dataset.from_tensor_slices((everything, keys)).map(drawn)
    assert mapped.element_spec == tf.TensorSpec((32, 32, 3), tf.uint8)
    for encoded, key, pixels in zip(everything, keys, mapped, strict=True):
        np.testing.assert_array_equal(drawn(tf.constant(encoded), key), pixels)


BROKEN = {
    "empty": b"",
    "text": b"hello world" * 10,
    "truncated png": encode(gradient(90, 120))[:-500],
    "truncated webp": encode(gradient(90, 120), "WEBP")[:-500],
    "half a jpeg header": encode(gradient(90, 120), "JPEG")[:100],
    "tiff": encode(gradient(90, 120), "TIFF"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bytes_that_are_no_image_raise(name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        view(BROKEN[name], 40)


def test_truncated_jpeg_raises_or_gives_what_the_whole_one_gives():
    whole = encode(gradient(200, 120), "JPEG")
    truncated = whole[: len(whole) * 2 // 3]
    np.testing.assert_array_equal(view(truncated, 40, 0.0), view(whole, 40, 0.0))  # above the cut
    with pytest.raises(tf.errors.InvalidArgumentError):
        view(truncated, 40, ALMOST_ONE)


def draws(number=3000, **options):
    drawn = tf.function(lambda keys: tf.map_fn(lambda key: images.draw_view(key, **options), keys, fn_output_signature=SIGNATURE))
    return [values.numpy() for values in drawn(randomness.example_key(0, tf.range(number, dtype=tf.int64)))]


SIGNATURE = (tf.int32, tf.float32, tf.float32, tf.bool)


def test_scale_is_uniform_over_all_whole_numbers_of_the_jitter():
    scales, top, left, mirrored = draws(scales=(256, 265), flip=True, seed=0)
    values, counts = np.unique(scales, return_counts=True)
    assert values.tolist() == list(range(256, 266))
    np.testing.assert_allclose(counts, 300, atol=75)
    for fraction in (top, left):
        assert 0 <= fraction.min() < 0.01
        assert 0.99 < fraction.max() < 1
    assert mirrored.mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(np.corrcoef([scales, top, left, mirrored]) - np.eye(4)).max() < 0.08


def test_fixed_scale_without_flip():
    scales, _, _, mirrored = draws(200, scales=(256, 256), flip=False, seed=0)
    assert set(scales) == {256}
    assert not mirrored.any()


def test_view_depends_on_key_and_seed_alone():
    first, again, other = (draws(50, scales=(256, 512), flip=True, seed=seed) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] == other[0]).mean() < 0.2
    assert (first[1] == other[1]).mean() < 0.2


# --- Whole images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((375, 500), 256, [256, 341]),  # 341.33
        ((500, 375), 256, [341, 256]),
        ((120, 120), 224, [224, 224]),
        ((100, 301), 50, [50, 151]),  # 150.5 goes up
        ((100, 303), 50, [50, 152]),  # 151.5
        ((176, 583), 72, [72, 239]),  # 238.5, which is a little less in float32
        ((65500, 65500), 65500, [65500, 65500]),  # a product beyond int32
        ((1, 5000), 256, [256, 1_280_000]),
        ((6000, 8000), 384, [384, 512]),
    ],
)
def test_rescaled_size_by_hand(size, scale, expected):
    assert images.rescaled_size(*size, scale).numpy().tolist() == expected


@pytest.mark.parametrize("mode", ["P", "1", "inverted L"])
def test_a_bmp_with_a_palette_is_broken(mode):
    """TensorFlow would give its indices as shades of grey."""
    encoded = encode(gradient(90, 120).convert(mode.split()[-1]), "BMP")
    if mode == "inverted L":
        encoded = encoded[:54] + encoded[54 : 54 + 1024][::-1] + encoded[54 + 1024 :]
    for function in (view, whole, lambda encoded, size: images.encoded_size(tf.constant(encoded))):
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(encoded, 40 if function is view else [40, 50])
    decoded = tf.data.Dataset.from_tensor_slices([encoded, encode(gradient(90, 120), "BMP")]).map(
        lambda encoded: images.decode_view(encoded, 40, 0.5, 0.5, tf.constant(False), 32)
    )
    assert len(list(decoded.ignore_errors())) == 1
    ledger = BrokenImages(in_memory([encoded], np.zeros(1), "memory"))
    ledger.report(np.array([0]))
    assert ledger.rows() == [("memory[0]", "a BMP with a palette: save it as PNG")]


def test_size_of_a_jpeg_comes_from_its_header_alone():
    encoded = encode(gradient(90, 120), "JPEG")
    assert images.encoded_size(tf.constant(encoded[: len(encoded) // 2])).numpy().tolist() == [90, 120]


@pytest.mark.parametrize("name", BROKEN)
def test_no_size_and_no_pixels_in_bytes_that_are_no_image(name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        images.encoded_size(tf.constant(BROKEN[name]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        whole(BROKEN[name], [40, 50])


def test_a_truncated_jpeg_has_no_pixels():
    encoded = encode(gradient(200, 120), "JPEG")
    for size in ([200, 120], [50, 30]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            whole(encoded[: len(encoded) * 2 // 3], size)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "wanted"),
    [((120, 90), (120, 90)), ((120, 90), (88, 66)), ((50, 70), (75, 105)), ((400, 150), (133, 50)), ((900, 1300), (40, 58))],
)
def test_whole_image_is_rescaled(kind, size, wanted):
    image = gradient(*size)
    pixels = whole(encode(image, kind, **({"quality": 95} if kind == "JPEG" else {})), wanted).astype(np.float32)
    assert pixels.shape == (*wanted, 3)
    expected = np.asarray(image.resize(wanted[::-1], Image.Resampling.BILINEAR), np.float32)
    difference = np.abs(pixels - expected)
    pixel = 255 / min(wanted)
    assert difference[..., :2].max() < pixel + 5
    assert difference[..., :2].mean() < 0.3 * pixel + 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("reduction", [2, 3, 4, 8, 11, 16])
def test_reduction_of_whole_images_averages(kind, reduction):
    noise = np.random.default_rng(0).normal(128, 40, (32 * reduction, 40 * reduction, 1)).clip(0, 255).astype(np.uint8)
    pixels = whole(encode(Image.fromarray(np.repeat(noise, 3, -1)), kind, **({"quality": 100} if kind == "JPEG" else {})), [32, 40])
    assert mean_color(pixels) == pytest.approx([128] * 3, abs=2)
    # Between two reductions of the decoder, the rest is interpolated between two pixels.
    assert pixels.std() < 2 * 40 / reduction


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("side", [32, 64, 96, 304])
def test_whole_square_image_is_the_view_of_all_of_it(kind, side):
    encoded = encode(gradient(side, side), kind)
    np.testing.assert_array_equal(whole(encoded, [32, 32]), view(encoded, 32))


def test_whole_photograph_of_48_megapixels():
    columns = Image.linear_gradient("L").rotate(90).resize((8000, 6000))
    encoded = encode(Image.merge("RGB", (columns, Image.new("L", columns.size, 90), Image.new("L", columns.size, 20))), "JPEG")
    assert images.encoded_size(tf.constant(encoded)).numpy().tolist() == [6000, 8000]
    pixels = whole(encoded, [384, 512]).astype(np.float32)
    np.testing.assert_allclose(pixels[..., 0], np.broadcast_to(255 * (np.arange(512) + 0.5) / 512, (384, 512)), atol=4)
    np.testing.assert_allclose(pixels[..., 1:], np.broadcast_to([90, 20], (384, 512, 2)), atol=4)


def test_white_stays_white_in_whole_images():
    for side in (20, 33, 47, 64, 101, 333):
        assert (whole(encode(Image.new("RGB", (side, side + 7), (255,) * 3)), [32, 39]) == 255).all()


def test_whole_images_within_dataset_map():
    everything = [encode(gradient(90, 120), kind) for kind in ("PNG", "JPEG", "BMP")] + [encode(gradient(700, 600), "JPEG")]

    def rescaled(encoded):
        return images.decode_whole(encoded, images.rescaled_size(*tf.unstack(images.encoded_size(encoded)), 40))

    for encoded, pixels in zip(everything, tf.data.Dataset.from_tensor_slices(everything).map(rescaled), strict=True):
        np.testing.assert_array_equal(rescaled(tf.constant(encoded)), pixels)
    assert pixels.shape == (47, 40, 3)
