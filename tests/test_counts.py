"""Counts in messages agree with their nouns and verbs."""

import pytest

from keras_vgg.support.counts import agree, counted, none_could


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "image", "0 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "box", "3 boxes"),
        (12345, "row", "12345 rows"),
    ],
)
def test_nouns(number, noun, told):
    assert counted(number, noun) == told


def test_irregular_nouns_and_thousands():
    assert counted(1, "pair of images", "pairs of images") == "1 pair of images"
    assert counted(1234, "pair of images", "pairs of images", separator=",") == "1,234 pairs of images"


def test_verbs():
    assert [agree(number, "is", "are") for number in (0, 1, 2)] == ["are", "is", "are"]
    assert none_could(1, "image", "be used") == "the only image could not be used"
    assert none_could(2, "image", "be used") == "none of the 2 images could be used"
