"""Style transfer and its command."""

import dataclasses
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_images import pixels
from small_nets import net_without_top

from keras_vgg import preprocessing, style
from keras_vgg.errors import InputError
from keras_vgg.features import style_transfer as module
from keras_vgg.features.losses import gram_matrix
from keras_vgg.features.style_settings import Settings
from keras_vgg.features.style_transfer import open_net, style_transfer
from keras_vgg.identity import digest_of_net
from keras_vgg.preprocessing import CAFFE, TORCH

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ("--content", "photo.jpg", "--style", "painting.png")


def smooth(height, width, seed):
    """An image with large shapes, unlike noise."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (1, 5, 5, 3))
    return tf.image.resize(coarse, (height, width), "bicubic")[0].numpy().clip(0, 255).astype(np.uint8)


CONTENT, STYLE = smooth(40, 52, 0), pixels(36, 36, number=1, seed=1)[0]


def transfer(content=CONTENT, style_image=STYLE, *, watch=None, wants=CAFFE, **options):
    settings = Settings(**({"steps": 12} | options))
    seen = []

    def keep(now):
        seen.append(now)
        return watch(now) if watch else None

    return style_transfer(content, style_image, open_net("D", net_without_top(wants=wants), settings), settings, watch=keep), seen


# --- The optimisation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["content", "noise"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls(optimizer, init):
    picture, seen = transfer(optimizer=optimizer, init=init)
    assert picture.shape == CONTENT.shape
    assert picture.dtype == np.uint8
    assert [now.step for now in seen] == list(range(1, 13))
    np.testing.assert_array_equal(picture, seen[-1].picture)
    falls = np.diff([now.loss for now in seen])
    assert seen[-1].loss < 0.6 * seen[0].loss
    assert (falls < 0).mean() > (0.99 if optimizer == "lbfgs" else 0.6)


def test_the_picture_sees_like_the_style_and_still_like_the_content():
    settings = Settings(steps=40, style_weight=100.0)
    net = open_net("D", net_without_top(), settings)
    picture = style_transfer(CONTENT, STYLE, net, settings)
    seen = {name: net(image[None]) for name, image in (("picture", picture), ("content", CONTENT), ("style", STYLE))}

    def apart(name, other, layer, what):
        return float(tf.reduce_mean(tf.square(what(seen[name][layer]) - what(seen[other][layer]))))

    for layer in settings.style_layers:
        assert apart("picture", "style", layer, gram_matrix) < 0.3 * apart("content", "style", layer, gram_matrix)
    assert not np.array_equal(picture, CONTENT)


def test_content_alone_is_found_again_from_noise():
    """Before the ReLU, which with so few filters keeps too little of an image."""
    settings = Settings(content_layers=["conv1_1"], style_layers=[], smoothness=0.0, init="noise", steps=60)
    net = open_net("D", net_without_top(), settings)
    found, wanted = (net(image[None])["conv1_1"].numpy() for image in (style_transfer(CONTENT, STYLE, net, settings), CONTENT))
    assert ((found - wanted) ** 2).mean() < 0.01 * wanted.var()


def test_the_same_seed_gives_the_same_picture():
    pictures = [transfer(init="noise", steps=4, seed=seed)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0].astype(float) - pictures[2]).mean() > 3


def test_weights_mean_the_same_whatever_the_units():
    """A net whose activations are a thousand times larger gives the same loss."""
    losses = []
    for scale in (1, 1000):
        model = net_without_top()
        for number in (0, 1):
            variable = model.get_layer("block1_conv1").weights[number]
            variable.assign(scale * variable)
        layers = {"content_layers": ["relu1_1"], "style_layers": ["relu1_1"]}
        settings = Settings(steps=1, smoothness=0.0, **layers)
        seen = []
        style_transfer(CONTENT, STYLE, open_net("D", model, settings), settings, watch=seen.append)
        losses.append(seen[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_settings_change_the_picture():
    usual = transfer(steps=3)[0]
    for options in (
        {"style_weight": 0.1}, {"smoothness": 1.0}, {"pooling": "max"}, {"style_layers": ["relu1_1"]}, {"wants": TORCH},
    ):  # fmt: skip
        assert not np.array_equal(transfer(steps=3, **options)[0], usual), options


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_it_ends_when_told(optimizer):
    picture, seen = transfer(optimizer=optimizer, watch=lambda now: now.step == 3)
    assert len(seen) == 3
    np.testing.assert_array_equal(picture, seen[-1].picture)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_images_of_one_colour(optimizer):
    for value in (0, 255):
        flat = np.full((36, 36, 3), value, np.uint8)
        picture, seen = transfer(flat, flat, optimizer=optimizer, steps=3)
        assert all(np.isfinite(now.loss) for now in seen)
        assert np.abs(picture.astype(float) - value).max() < 40


def test_a_net_that_sees_nothing():
    model, settings = net_without_top(), Settings(steps=2)
    for variable in model.weights:
        variable.assign(tf.zeros_like(variable))
    seen = []
    style_transfer(CONTENT, STYLE, open_net("D", model, settings), settings, watch=seen.append)
    assert seen
    assert all(np.isfinite(now.loss) for now in seen)


@pytest.mark.parametrize(
    "image", [CONTENT[..., 0], CONTENT[..., :2], CONTENT.astype("float32"), CONTENT[None]], ids=["grey", "two", "float", "batch"]
)
def test_arrays_that_are_no_images(image):
    for arguments, name in (((image, STYLE), "content"), ((CONTENT, image), "style")):
        with pytest.raises(InputError, match=rf"`{name}` must be \(height, width, 3\) uint8"):
            transfer(*arguments)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "`steps` must be at least 1. Received: 0"),
        ({"style_weight": -1.0}, "`style_weight` must be at least 0"),
        ({"style_weight": float("nan")}, "`style_weight` must be at least 0"),
        ({"smoothness": float("inf")}, "`smoothness` must be at least 0"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"optimizer": "sgd"}, "`optimizer` must be one of lbfgs, adam. Received: 'sgd'"),
        ({"pooling": "min"}, "`pooling` must be one of max, avg"),
        ({"init": "style"}, "`init` must be one of content, noise"),
        ({"style_layers": "relu1_1"}, "`style_layers` must be a list of layer names"),
        ({"style_layers": [], "content_layers": []}, "without them there is no loss"),
    ],
)
def test_settings_that_make_no_sense(options, told):
    with pytest.raises(InputError, match=told):
        Settings(**options)


# --- The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.keras"
    net_without_top().save(path)
    preprocessing.attach(path, CAFFE)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with images, into which the process goes."""
    Image.fromarray(smooth(60, 90, 0)).save(tmp_path / "photo.jpg")
    Image.fromarray(pixels(50, 40, number=1)[0]).save(tmp_path / "painting.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(weights, *flags):
    return style.main([*IMAGES, "--weights", str(weights), "--size", "48", *flags])


def test_the_command_writes_a_picture(here, weights, capsys):
    assert run(weights, "--steps", "3", "--out", "new.png") is None
    picture = Image.open("new.png")
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (48, 32))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"preprocessing: {CAFFE}, recorded in the file", "48x32 pixels, 3 steps"]
    assert "steps/s" in lines[-2]
    assert lines[-1].startswith("new.png: loss ")
    assert lines[-1].endswith(" after 3 steps")
    assert sorted(os.listdir()) == ["new.png", "painting.png", "photo.jpg"]


def test_the_picture_carries_what_it_is_of(here, weights):
    run(weights, "--steps", "2", "--style-layers", "relu1_1", "--content-layers", "relu2_1")
    with Image.open("picture.png") as picture:
        told = picture.text
    for name, path in (("content", "photo.jpg"), ("style", "painting.png")):
        assert told[f"{name} sha256"] == hashlib.sha256((here / path).read_bytes()).hexdigest()
    settings = Settings(steps=2, style_layers=["relu1_1"], content_layers=["relu2_1"])
    assert told["net sha256"] == digest_of_net(open_net(None, weights, settings))
    assert json.loads(told["settings"]) == json.loads(json.dumps(dataclasses.asdict(settings))) | {"size": 48}
    assert told["steps"] == "2"
    assert float(told["loss"]) > 0


def test_it_is_the_librarys_picture(here, weights):
    run(weights, "--steps", "2", "--style-layers", "relu1_1", "relu2_1", "--pooling", "max", "--seed", "3", "--init", "noise")
    settings = Settings(steps=2, style_layers=["relu1_1", "relu2_1"], pooling="max", seed=3, init="noise")
    content, painting = (
        np.asarray(Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS))
        for path, size in (("photo.jpg", (48, 32)), ("painting.png", (38, 48)))
    )
    expected = style_transfer(content, painting, open_net(None, weights, settings), settings)
    np.testing.assert_array_equal(np.asarray(Image.open("picture.png")), expected)


def test_recipe_and_flags_that_override_it(here, weights, capsys):
    (here / "mine.toml").write_text(f'weights = "{weights}"\nsteps = 9\nsize = 50\nstyle_weight = 3\nstyle_layers = ["relu1_1"]\n')
    style.main(["--recipe", "mine.toml", "--steps", "2", "--preprocessing", "torch", *IMAGES])
    assert capsys.readouterr().out.startswith(f"preprocessing: {TORCH}, as specified\n50x33 pixels, 2 steps")


def test_the_recipe_that_comes_along(here, weights, capsys):
    style.main(["--recipe", str(ROOT / "recipes" / "style.toml"), *IMAGES,
                "--weights", str(weights), "--size", "48", "--steps", "1", "--out", "a.png"])  # fmt: skip
    assert "a.png" in capsys.readouterr().out


def test_a_photograph_is_turned_upright(here, weights):
    turned = Image.open("photo.jpg").getexif()
    turned[0x0112] = 6  # the camera was held on its side
    Image.open("photo.jpg").save("turned.jpg", exif=turned)
    style.main([*IMAGES, "--content", "turned.jpg", "--size", "48", "--steps", "1", "--weights", str(weights)])
    assert Image.open("picture.png").size == (32, 48)


def test_sixteen_bits_are_no_brighter_than_eight(here):
    grey = np.linspace(0, 255, 64).astype(np.uint8).repeat(48).reshape(64, 48)
    Image.fromarray(grey).save("eight.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save("sixteen.png")
    assert Image.open("sixteen.png").mode.startswith("I")
    np.testing.assert_array_equal(style._read_image("sixteen.png", 64)[0], style._read_image("eight.png", 64)[0])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_loss_that_overflows_leaves_the_last_good_picture(here, weights, capsys, monkeypatch, optimizer):
    """From the second step on its gradient is infinite, as a weight too large makes it."""
    objective_of, calls = module._objective, []

    def overflowing(*arguments):
        objective = objective_of(*arguments)

        def evaluate(picture):
            loss, gradient = objective(picture)
            calls.append(float(loss))
            return (loss if len(calls) < 6 else loss * np.inf), gradient

        return evaluate

    monkeypatch.setattr(module, "_objective", overflowing)
    with pytest.raises(InputError, match=r"After \d steps the loss is inf; pass smaller loss weights"):
        run(weights, "--steps", "50", "--optimizer", optimizer)
    assert Image.open("picture.png").size == (48, 32)
    assert capsys.readouterr().out.splitlines()[-1].startswith("picture.png: loss ")


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_gradient_that_overflows_paints_no_garbage(here, weights, monkeypatch, optimizer):
    objective_of = module._objective
    monkeypatch.setattr(module, "_objective", lambda *of: lambda picture: (objective_of(*of)(picture)[0], picture * np.nan))
    with pytest.raises(InputError, match=r"After 0 steps the gradient of the loss is not finite"):
        run(weights, "--steps", "2", "--optimizer", optimizer)
    assert not pathlib.Path("picture.png").exists()


def test_where_no_step_lowers_the_loss_the_picture_is_as_it_began(here, weights, capsys):
    run(weights, "--steps", "3", "--style", "photo.jpg", "--style-weight", "0", "--smoothness", "0")
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "picture.png: unchanged: no step lowers the loss"
    assert "nan" not in told
    np.testing.assert_array_equal(np.asarray(Image.open("picture.png")), style._read_image("photo.jpg", 48)[0])


def test_ctrl_c_leaves_the_picture_so_far(here, weights, capsys, monkeypatch):
    class Interrupted(style.Progress):
        def show(self, text):
            if text.startswith("step 2/"):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(style, "Progress", Interrupted)
    assert run(weights, "--steps", "50") == 130
    assert Image.open("picture.png").size == (48, 32)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(" after 2 steps, interrupted") or last.endswith(" after 3 steps, interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--content missing.jpg", r"Expected an image. Received: missing.jpg \(No such file"),
        ("--style notes.txt", r"Expected an image. Received: notes.txt \(cannot identify"),
        ("--style broken.png", r"Expected an image. Received: broken.png \("),
        ("--style .", r"Expected an image. Received: . \(Is a directory\)"),
        ("--content long.png", r"long.png is 48x4 pixels at this size; each side must be at least 32"),
        ("--out picture.jpg", r"`--out` must end in .png. Received: picture.jpg"),
        ("--out nowhere/a.png", r"Expected a file in an existing folder. Received: nowhere/a.png"),
        ("--out folder.png", r"Expected a file in an existing folder. Received: folder.png"),
        ("--size 31", r"`--size` must be 32 to 2048 pixels. Received: 31"),
        ("--size 4096", r"`--size` must be 32 to 2048 pixels"),
        ("--steps 0", r"`steps` must be at least 1"),
        ("--style-layers block3_conf1", r"Received: 'block3_conf1'; similar names: block3_conv1"),
        ("--arch A --content-layers relu3_2", r"Expected weights of net A"),
        ("--arch A", r"layers of net A before its top. Received: 'block3_conv3'"),
        ("--weights missing.h5", r"'imagenet'.*missing.h5"),
        ("--weights photo.jpg", r"photo.jpg"),
        ("--recipe missing.toml", r"must be a readable TOML file"),
        ("--recipe unknown.toml", r"Recipe unknown.toml has unknown keys: stepps. Known: content, style"),
        ("--recipe number.toml", r"Recipe number.toml: `steps` must be a whole number. Received: 1.5"),
        ("--recipe layers.toml", r"Recipe layers.toml: `style_layers` must be a list of layer names. Received: 'relu1_1'"),
        ("--recipe arch.toml", r"`arch` must be one of"),
    ],
)
def test_a_mistake_is_told_and_nothing_written(here, weights, flags, told):
    (here / "notes.txt").write_text("no image")
    (here / "broken.png").write_bytes((here / "painting.png").read_bytes()[:600])
    Image.new("RGB", (400, 30)).save("long.png")
    (here / "folder.png").mkdir()
    for name, text in (
        ("unknown", "stepps = 3"), ("number", "steps = 1.5"), ("layers", 'style_layers = "relu1_1"'), ("arch", 'arch = "F"'),
    ):  # fmt: skip
        (here / f"{name}.toml").write_text(text)
    before = sorted(os.listdir())
    with pytest.raises(InputError, match=told) as raised:
        run(weights, "--steps", "1", *flags.split())
    assert "\n" not in str(raised.value)
    assert sorted(os.listdir()) == before


def test_both_images_are_needed():
    with pytest.raises(InputError, match="Pass --content IMAGE and --style IMAGE"):
        style.main([])


def test_one_line_and_exit_code_2_without_tensorflow(here):
    imports = "import sys; sys.modules['tensorflow'] = None; from keras_vgg import style; from keras_vgg.support import entry"
    program = f"{imports}; entry.run(style.main)"
    command = [sys.executable, "-c", program, "--content", "photo.jpg", "--style", "missing.jpg"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=here, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("Expected an image. Received: missing.jpg")
