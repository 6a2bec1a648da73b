"""Localisation error against a scorer in plain loops on pixels, as the devkit's; overlaps by hand; refusals; the blacklist."""

import pathlib

import numpy as np
import pytest

from keras_vgg.errors import InputError
from keras_vgg.localisation import boxes, scoring
from keras_vgg.localisation.blacklist import read_blacklist
from keras_vgg.localisation.scoring import score

IMAGES = 10_000


def devkit_overlap(a, b):
    """Of first and last pixels, both in the box; -1 for none."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return -1
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def devkit_is_wrong(guesses, label, truths, most, above):
    for guess, box in guesses[:most]:
        if guess == label:
            overlaps = [devkit_overlap(box, truth) for truth in truths]
            if any(overlap > 0.5 if above else not overlap < 0.5 for overlap in overlaps):
                return False
    return True


def random_boxes(generator, *shape):
    """Small ones, so that many overlap by exactly one half, touch or are equal; some reversed."""
    corners = generator.integers(0, 9, (*shape, 2, 2))
    pixels = np.sort(corners, axis=-2).reshape(*shape, 4)
    return np.where(generator.random(shape)[..., None] < 0.1, corners.reshape(*shape, 4), pixels)


@pytest.fixture(scope="module")
def cases():
    """Pixels of guesses and truths of random images, with what does not exist as `None`, and the arrays that say the same."""
    generator = np.random.default_rng(0)
    labels, guessed = generator.integers(0, 3, (IMAGES, 7)), generator.integers(0, 8, IMAGES)
    true_labels, truths = generator.integers(0, 3, IMAGES), generator.integers(1, 4, IMAGES)
    pixels, true_pixels = random_boxes(generator, IMAGES, 7), random_boxes(generator, IMAGES, 3)
    near = true_pixels[np.arange(IMAGES)[:, None], generator.integers(0, truths[:, None], (IMAGES, 7))]
    pixels = np.where(generator.random((IMAGES, 7, 1)) < 0.5, near + generator.integers(-1, 2, near.shape), pixels)
    lists = [
        (list(zip(*pair, strict=True)), label, true[:most].tolist())
        for *pair, label, true, most in zip(
            [row[:most].tolist() for row, most in zip(labels, guessed, strict=True)],
            [row[:most].tolist() for row, most in zip(pixels, guessed, strict=True)],
            true_labels.tolist(),
            true_pixels,
            truths,
            strict=True,
        )
    ]
    edges, true_edges = boxes.from_inclusive(pixels, 1), boxes.from_inclusive(true_pixels, 1)
    no_guess, no_truth = np.arange(7) >= guessed[:, None], np.arange(3) >= truths[:, None]
    edges[no_guess & (np.arange(IMAGES) % 2 == 0)[:, None], 1] = np.nan  # said in either of two ways
    labels[no_guess & (np.arange(IMAGES) % 2 == 1)[:, None]] = -1
    true_edges[no_truth] = np.nan
    blacklist = generator.random(IMAGES) < 0.04
    return lists, blacklist, (labels, edges, true_labels, true_edges, blacklist)


@pytest.mark.parametrize("above", [False, True])
def test_as_the_devkit(cases, above):
    lists, blacklist, arrays = cases
    found = score(*arrays, above=above)
    assert np.array_equal(found.counted, ~blacklist)
    for most, right, has_class, error, parts in (
        (1, found.right_top1, found.class_right_top1, found.top1_error, (found.top1_class_wrong, found.top1_box_wrong)),
        (5, found.right_top5, found.class_right_top5, found.top5_error, (found.top5_class_wrong, found.top5_box_wrong)),
    ):
        wrong = np.array([devkit_is_wrong(*each, most, above) for each in lists])
        missing = np.array([label not in [guess for guess, _ in guesses[:most]] for guesses, label, _ in lists])
        assert np.array_equal(~right, wrong)
        assert np.array_equal(~has_class, missing)
        assert error == wrong[~blacklist].mean()
        assert parts[0] == missing[~blacklist].mean()
        assert sum(parts) == pytest.approx(error)
        assert 0.1 < error < 0.96


def test_the_cases_hold_what_matters(cases):
    lists, _, arrays = cases
    overlaps = [devkit_overlap(box, truth) for guesses, _, truths in lists for _, box in guesses for truth in truths]
    assert sum(overlap == 0.5 for overlap in overlaps) > 1000
    assert np.any(score(*arrays).right_top5 != score(*arrays, above=True).right_top5)
    assert any(len(guesses) > 5 for guesses, _, _ in lists)
    assert any(not guesses for guesses, _, _ in lists)


def test_iou_is_the_devkits_of_pixels():
    generator = np.random.default_rng(1)
    a, b = random_boxes(generator, 300), random_boxes(generator, 300)
    wanted = [max(devkit_overlap(*pair), 0) for pair in zip(a, b, strict=True)]
    assert np.array_equal(boxes.overlap(boxes.from_inclusive(a), boxes.from_inclusive(b)), wanted)
    assert np.array_equal(boxes.to_inclusive(boxes.from_inclusive(a, 1), 1), a)


def test_overlaps_by_hand():
    box = np.array([0.0, 0, 4, 2])
    others = np.array([[2.0, 0, 6, 2], [0, 0, 4, 2], [4, 0, 8, 2], [1, 1, 1, 2], [3, 2, 1, 0], [np.nan, 0, 4, 2]])
    assert np.array_equal(boxes.overlap(box, others), [1 / 3, 1, 0, 0, 0, 0])
    assert boxes.overlap(others[:, None], others[None]).shape == (6, 6)
    assert np.array_equal(boxes.overlap(others[3], others[3]), 0)
    clipped = boxes.clipped(np.array([[-3.0, 5, 700, 400], [-9, 1, -2, 3]]), np.array([[640, 480], [8, 8]]))
    assert np.array_equal(clipped, [[0, 5, 640, 400], [0, 1, 0, 3]])


def test_images_without_a_true_box_do_not_count_but_those_without_area_do():
    box = np.array([[[0.0, 0, 2, 2]]])
    truths = np.stack([np.full((1, 4), np.nan), np.zeros((1, 4)), box[0]])
    found = score(np.zeros((3, 1), int), np.repeat(box, 3, axis=0), np.zeros(3, int), truths)
    assert found.counted.tolist() == [False, True, True]
    assert (found.top1_error, found.top1_class_wrong, found.top1_box_wrong) == (0.5, 0, 0.5)
    assert np.isnan(score(np.zeros((0, 5), int), np.zeros((0, 5, 4)), np.zeros(0, int), np.zeros((0, 1, 4))).top5_error)


def test_what_does_not_go_together_is_refused():
    labels, edges, truths = np.zeros((3, 2), int), np.zeros((3, 2, 4)), np.zeros((3, 1, 4))
    for wrong in (
        (labels, edges[:, :1], labels[:, 0], truths),
        (labels[:2], edges[:2], labels[:, 0], truths),
        (labels, edges, labels[:, 0], truths[:, 0]),
        (labels, edges, labels[:, 0], truths, np.zeros(2, bool)),
        (labels * 1.0, edges, labels[:, 0], truths),
    ):
        with pytest.raises(InputError, match=r"Received: "):
            score(*wrong)
    assert scoring.MOST_GUESSES == 5


NAMES = [f"val/n0144076{number % 3}/ILSVRC2012_val_{number:08}.JPEG" for number in (3, 1, 12, 2)]


def listed(tmp_path, text, images, **options):
    path = pathlib.Path(tmp_path, "blacklist.txt")
    path.write_text(text, encoding="utf-8")
    return read_blacklist(path).of_images(images, **options).tolist()


def test_numbers_on_the_blacklist_are_those_in_names(tmp_path):
    assert listed(tmp_path, "2\n12\n40000\n", NAMES) == [False, False, True, True]
    others = ["mine/00000003.jpg", "ILSVRC2012_val_00000003_2.JPEG"]
    assert listed(tmp_path, "\ufeff3\r\n\r\n", [*NAMES, *others]) == [True] + [False] * 5
    assert listed(tmp_path, "2\n", ["a.jpg", "b.jpg"], in_devkit_order=True) == [False, True]
    with pytest.raises(InputError, match=r"ILSVRC2012_val_00000001.*Received: images with other names, such as a\.jpg"):
        listed(tmp_path, "2\n", ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"_00000003\.JPEG at position 1"):
        listed(tmp_path, "2\n", NAMES, in_devkit_order=True)
    with pytest.raises(InputError, match=r"whole set. Received: 2 images, but the number 3"):
        listed(tmp_path, "3\n", ["a.jpg", "b.jpg"], in_devkit_order=True)


def test_names_on_the_blacklist(tmp_path):
    images = ["val/cat/1.jpg", "val/dog/1.jpg", "val/dog/b.jpg", "photo"]
    assert listed(tmp_path, "b.jpg\ncat/1\n", images) == [True, False, True, False]
    assert listed(tmp_path, "photo\nelsewhere.jpg\n", images) == [False, False, False, True]
    assert listed(tmp_path, "ILSVRC2012_val_00000012\n1\n", NAMES) == [False, True, True, False]
    with pytest.raises(InputError, match=r"one image. Received: 1\.jpg, which matches val/cat/1\.jpg and val/dog/1\.jpg"):
        listed(tmp_path, "1.jpg\n", images)
    with pytest.raises(InputError, match=r"must match the images. Received: none\.jpg"):
        listed(tmp_path, "none.jpg\n", images)


@pytest.mark.parametrize(("text", "told"), [("", "which is empty"), ("3\n0\n", r"line 2: .* must be at least 1. Received: 0")])
def test_blacklists_that_are_none(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        listed(tmp_path, text, NAMES)


def test_a_blacklist_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"Expected a text file .* No such file"):
        read_blacklist(tmp_path / "none.txt")
