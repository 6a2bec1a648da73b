"""Files of guesses in the devkit's format: there and back, what is written for what, and what is wrong with which line."""

import numpy as np
import pytest

from keras_vgg.errors import InputError
from keras_vgg.localisation.submission import numbers_of, read_submission, write_submission

NUMBERS = np.array([7, 1000, 3])  # of three classes


def test_there_and_back(tmp_path):
    generator = np.random.default_rng(0)
    labels, boxes = generator.integers(0, 3, (200, 6)), generator.integers(-20, 500, (200, 6, 4)).astype(float)
    guessed = generator.integers(0, 7, 200)
    for row, guesses in enumerate(guessed):
        labels[row, guesses:], boxes[row, guesses:] = -1, np.nan
    for origin in (0, 1):
        write_submission(tmp_path / "guesses.txt", labels, boxes, NUMBERS, origin=origin)
        found, edges = read_submission(tmp_path / "guesses.txt", NUMBERS, origin=origin, images=200)
        assert np.array_equal(found, labels[:, :5])
        assert np.array_equal(edges, boxes[:, :5], equal_nan=True)


def test_what_is_written(tmp_path):
    labels = np.array([[1, 0, 2], [0, 1, -1], [0, 0, 0]])
    boxes = np.zeros((3, 3, 4))
    boxes[0] = [[0, 0, 640, 480], [10.4, 9.5, 20.6, 30.4], [3.6, 3.2, 3.9, 3.4]]  # whole, of fractions, within a pixel
    boxes[1] = [[np.nan, 0, 1, 1], [5, 5, 9, 9], [0, 0, 1, 1]]  # one that could not be told, a right one, none
    boxes[2] = np.nan
    write_submission(tmp_path / "guesses.txt", labels, boxes, NUMBERS, origin=1)
    lines = (tmp_path / "guesses.txt").read_text().splitlines()
    assert lines == ["1000 1 1 640 480 7 11 11 21 30 3 4 4 4 4", "1000 6 6 9 9", "0 0 0 0 0"]
    assert [path.name for path in tmp_path.iterdir()] == ["guesses.txt"]


def test_edges_are_rounded_to_the_next_pixel(tmp_path):
    boxes = np.random.default_rng(1).uniform(0, 300, (100, 1, 2, 2))
    boxes = np.sort(boxes, axis=2).reshape(100, 1, 4)
    write_submission(tmp_path / "guesses.txt", np.zeros((100, 1), int), boxes, NUMBERS)
    found = read_submission(tmp_path / "guesses.txt", NUMBERS)[1][:, :1]
    assert np.abs(found - boxes).max() <= 1
    assert (found[..., 2:] > found[..., :2]).all()
    wide = (boxes[..., 2:] - boxes[..., :2] > 1).all(axis=-1)
    assert np.abs(found - boxes)[wide].max() <= 0.5


def test_guesses_of_others(tmp_path):
    path = tmp_path / "guesses.txt"
    path.write_text("7 1 1 2.5 3 \t 3.0  1e1 1 20 4\r\n" + "3 1 1 2 2 " * 7 + "\r\n")
    labels, boxes = read_submission(path, NUMBERS, origin=1)
    assert labels.tolist() == [[0, 2, -1, -1, -1], [2] * 5]
    assert boxes[0, :2].tolist() == [[0, 0, 2.5, 3], [9, 0, 20, 4]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("7 1 1 2 2\n7 1 1 2\n", r"guesses\.txt, line 2: .*4 fields, which is not a multiple of five"),
        ("7 1 1 2 2\n\n7 1 1 2 2\n", r"line 2: .*nothing; an image without a guess is `0 0 0 0 0`"),
        ("7 1 one 2 2\n", r"line 1: .*`one`, which is not a finite number"),
        ("7 1 nan 2 2\n", r"line 1: .*`nan`, which is not a finite number"),
        ("4 1 1 2 2\n", r"line 1: .*the label 4, which is not one of the 3 classes"),
        ("7.5 1 1 2 2\n", r"line 1: .*the label 7\.5"),
        ("", r"one line per image. Received: .* with 0"),
    ],
)
def test_wrong_lines(tmp_path, text, told):
    path = tmp_path / "guesses.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        read_submission(path, NUMBERS)


def test_wrong_files(tmp_path):
    write_submission(tmp_path / "guesses.txt", np.zeros((3, 1), int), np.zeros((3, 1, 4)), NUMBERS)
    with pytest.raises(InputError, match=r"Expected 4 lines, one per image. Received: .* with 3"):
        read_submission(tmp_path / "guesses.txt", NUMBERS, images=4)
    with pytest.raises(InputError, match="Expected a text file of guesses"):
        read_submission(tmp_path / "none.txt", NUMBERS)
    with pytest.raises(InputError, match="Each of 4 classes must have a number"):
        write_submission(tmp_path / "guesses.txt", np.full((3, 1), 3), np.zeros((3, 1, 4)), NUMBERS)
    with pytest.raises(InputError, match="must be distinct integers from 1"):
        read_submission(tmp_path / "guesses.txt", [1, 1, 2])


def test_numbers_by_the_devkits_order():
    assert numbers_of(["tench", "cat", "dog"], ["dog", "tench", "fox", "cat"]).tolist() == [2, 4, 1]
    with pytest.raises(InputError, match="1 of 2 that are not, such as cow"):
        numbers_of(["cat", "cow"], ["dog", "cat"])
    with pytest.raises(InputError, match="Received: dog twice"):
        numbers_of(["cat"], ["dog", "cat", "dog"])
