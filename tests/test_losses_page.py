"""The page of well-known losses: its factors are those of the papers. `test_page_blocks` runs its blocks."""

import pathlib
import re

import numpy as np
import pytest
from public_files import instead_of_downloads

from keras_vgg.features import PerceptualLoss, perceptual_model

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "losses.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def public_files(tmp_path_factory):
    with instead_of_downloads(tmp_path_factory.mktemp("public")):
        yield


def test_the_factors_are_those_of_gatys():
    """The literal formulas of the paper (eq. 1, 4, 5 and 7) at 224x224 with α/β = 1e-3, up to one factor."""
    names: dict = {}
    exec(BLOCKS[0], names)
    net = names["net"]
    images, others = (np.random.default_rng(seed).random((1, 224, 224, 3)).astype(np.float32) * 255 for seed in range(2))
    first, second = ({name: np.asarray(value[0], np.float64) for name, value in net(each).items()} for each in (images, others))
    content = 0.5 * ((first["relu4_2"] - second["relu4_2"]) ** 2).sum()
    style = 0.0
    for layer in names["STYLE"]:
        height, width, filters = first[layer].shape
        rows = [each[layer].reshape(-1, filters) for each in (first, second)]
        grams = [each.T @ each for each in rows]
        style += ((grams[0] - grams[1]) ** 2).sum() / (4 * filters**2 * (height * width) ** 2) / 5
    literal = 1e-3 * content + style
    ours = float(names["loss"](images, others))
    assert ours * 0.5e-3 * 512 * 28 * 28 == pytest.approx(literal, rel=0.01)
    assert content * 1e-3 / literal > 0.01 < style / literal  # both count


def test_the_factors_are_those_of_johnson():
    """Eq. 2 and 4 of the paper, whose Gram matrices are divided by channels and places."""
    net = perceptual_model("D", ("relu2_2",), weights=None, preprocessing="caffe")
    images, others = (np.random.default_rng(seed).random((1, 64, 48, 3)).astype(np.float32) * 255 for seed in range(2))
    first, second = (np.asarray(net(each)["relu2_2"][0], np.float64) for each in (images, others))
    places, channels = first.shape[0] * first.shape[1], first.shape[2]
    grams = [each.reshape(-1, channels).T @ each.reshape(-1, channels) / (places * channels) for each in (first, second)]
    style = ((grams[0] - grams[1]) ** 2).sum()
    content = ((first - second) ** 2).sum() / (places * channels)
    loss = PerceptualLoss(net, content={"relu2_2": 1.0}, style={"relu2_2": 5.0})
    assert float(loss(images, others)) == pytest.approx(content + 5 * style, rel=1e-4)
