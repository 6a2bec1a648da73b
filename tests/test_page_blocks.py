"""Python blocks of the pages run: those of a page in order, in one namespace, in a folder of their own.

A page declares what its blocks presuppose (`_Page`): names, files, and replacements that make a block short. A block that can run
nowhere here has its reason.
"""

import contextlib
import dataclasses
import gc
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import local_server
import numpy as np
import pytest
import small_served_model
from PIL import Image
from public_files import instead_of_downloads

from keras_vgg import configs, models, training
from keras_vgg.recipe import Recipe

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = re.compile(r"^(?P<indent> *)```python\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
FRAGMENTS = "lines to put among others, with `...` for those"


@dataclasses.dataclass(frozen=True)
class _Page:
    """How the blocks of a page run.

    Attributes:
        prelude: makes the names that the blocks presuppose, and files in the current folder.
        replaced: text in blocks, and what stands for it here; each must occur.
        skipped: the reasons why blocks, by number, do not run.
        check: what holds of the names after a block, given its number.
    """

    prelude: Callable[[], Mapping[str, Any]] = dict
    replaced: Mapping[str, str] = dataclasses.field(default_factory=dict)
    skipped: Mapping[int, str] = dataclasses.field(default_factory=dict)
    check: Callable[[int, dict], None] = lambda number, names: None


SHORT = Recipe(arch="A", width=1 / 16, dataset="digits", crop=32, jitter=(32, 36), epochs=1, limit_images=128, batch_size=32)
TINY_RUN = Recipe(arch="A", width=1 / 32, dataset="digits", crop=64, scale=72, epochs=1, limit_images=32, batch_size=16)


def pixels(number, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, side, side, 3)).astype(np.float32)


def generator():
    """A net that makes images of images."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")(inputs))


def of_features():
    images = np.random.default_rng(0).random((2, 48, 48, 3)).astype(np.float32)
    return {"images": images, "generator": generator(), "photographs": pixels(2, 48), "restored": pixels(2, 48, 1)}


def features_learn(number, names):
    targets, given = (np.random.default_rng(seed).random((2, 48, 48, 3)).astype(np.float32) for seed in range(2))
    assert np.isfinite(names["generator"].train_on_batch(given, targets)).all()
    if number == 1:
        assert names["maps"].shape[:3] == (2, 48, 48)


def of_losses():
    return {"painting": pixels(1, 48)[0]}


def losses_are_finite(number, names):
    losses = [each for each in names.values() if isinstance(each, keras.losses.Loss)]
    images = np.random.default_rng(1).random((2, 32, 32, 3)).astype(np.float32)
    for loss in losses:
        assert np.isfinite(float(loss(images, images[::-1])))
    assert losses


def of_networks():
    training.fit(TINY_RUN, workdir="runs/flowers17")
    # The page speaks of full nets here; narrow ones are initialized in the same way.
    return {
        "images": pixels(1, 224),
        "crops": pixels(2, 64),
        "photographs": pixels(2, 100),
        "net_a": models.build_vgg("A", width=1 / 32),
    }


def networks_are_as_told(number, names):
    if number == 1:
        (told,) = re.findall(r"# ([\d,]+) parameters", blocks("docs/pretrained.md")[1])
        assert f"{models.build_vgg('D').count_params():,}" == told
    if number == 3:
        assert names["posteriors"].shape == (2, 10)


def of_serving():
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(1, 32)[0].astype(np.uint8)).save(name)
    small_served_model.save(pathlib.Path("models"))
    stack = contextlib.ExitStack()
    addresses = stack.enter_context(local_server.serving("models"))
    return {"paths": ["a.png", "b.png"], "LOCAL": addresses.grpc, "until_the_end": stack}


def of_training():
    return {"SHORT": SHORT}


def student_counts(number, names):
    if number == 0:
        told = f"{names['small'].count_params()} {configs.parameter_count('A')}"
        assert told in (ROOT / "docs/tutorials/student.md").read_text(encoding="utf-8")
    else:
        assert Image.open("row.png").size == (320, 32)


def flowers_are_arranged(number, names):
    folders = {split: [*pathlib.Path("flowers17", split).iterdir()] for split in ("train", "val")}
    counts = {split: {len([*each.iterdir()]) for each in found} for split, found in folders.items()}
    assert counts == {"train": {64}, "val": {16}}
    assert {len(found) for found in folders.values()} == {17}
    used = re.findall(r"flowers17/val/\S+\.jpg", (ROOT / "docs/index.md").read_text(encoding="utf-8"))
    assert used
    assert all(pathlib.Path(each).exists() for each in used)


def of_flowers():
    folder = pathlib.Path("jpg")
    folder.mkdir()
    for number in range(1, 17 * 80 + 1):
        (folder / f"image_{number:04}.jpg").write_bytes(b"")
    return {}


def photographs_are_arranged(number, names):
    counts = {split: len([*pathlib.Path("photographs", split).glob("*/*.jpg")]) for split in ("train", "val")}
    assert counts == {"train": 320, "val": 80}
    assert pathlib.Path("photographs/val/sunflower/image_0725.jpg").exists()


PAGES = {
    "README.md": _Page(lambda: {"images": pixels(1, 224)}),
    "BUILD.md": _Page(skipped={0: "needs Ray and a cluster"}),
    "CONTRIBUTING.md": _Page(skipped=dict.fromkeys(range(7), FRAGMENTS)),
    "docs/features.md": _Page(of_features, check=features_learn),
    "docs/index.md": _Page(of_flowers, check=flowers_are_arranged),
    "docs/losses.md": _Page(of_losses, check=losses_are_finite),
    "docs/pretrained.md": _Page(
        of_networks, replaced={'model = build_vgg("D")': 'model = build_vgg("D", width=1 / 32)'}, check=networks_are_as_told
    ),
    "docs/serving.md": _Page(of_serving, replaced={'"localhost:8500"': "LOCAL"}),
    "docs/tutorials/engineer.md": _Page(of_flowers, check=photographs_are_arranged),
    "docs/tutorials/researcher.md": _Page(),
    "docs/tutorials/student.md": _Page(check=student_counts),
    "docs/training.md": _Page(
        of_training,
        replaced={
            'training.fit("quickstart"': "training.fit(SHORT",
            'training.load_data("quickstart")': "training.load_data(SHORT)",
            "epochs=20": "epochs=1",
        },
    ),
}


def blocks(page):
    return [found["text"] for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))]


@pytest.fixture(scope="module", autouse=True)
def public_files(tmp_path_factory):
    with instead_of_downloads(tmp_path_factory.mktemp("public")):
        yield


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    declared, texts = PAGES[page], blocks(page)
    if set(declared.skipped) >= set(range(len(texts))):
        pytest.skip("; ".join(sorted(set(declared.skipped.values()))))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page", **declared.prelude()}
    try:
        for number, text in enumerate(texts):
            if number in declared.skipped:
                continue
            for told, here in declared.replaced.items():
                text = text.replace(told, here)
            exec(compile(text, f"{page}, block {number}", "exec"), names)
            declared.check(number, names)
    finally:
        if "until_the_end" in names:
            names["until_the_end"].close()
        names.clear()
        gc.collect()  # several pages build nets of full size


def test_every_page_with_blocks_is_run():
    pages = [path for pattern in ("*.md", "docs/**/*.md", "recipes/*.md") for path in ROOT.glob(pattern)]
    assert {path.relative_to(ROOT).as_posix() for path in pages if BLOCK.search(path.read_text(encoding="utf-8"))} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_declares_occurs_there(page):
    declared, texts = PAGES[page], blocks(page)
    assert set(declared.skipped) <= set(range(len(texts)))
    assert all(any(told in text for text in texts) for told in declared.replaced)
