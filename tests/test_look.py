"""The command `look`: filters of the first convolution, and feature maps."""

import hashlib
import json

import keras
import numpy as np
import pytest
from PIL import Image
from run_folders import write_run
from small_images import ENCODED, TRUNCATED
from small_nets import WANTS, net, net_without_top

from keras_vgg import look, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.evaluation import learnt, prediction
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.support import sheet

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "nets_loaded_once")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "net")


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(ENCODED[0])
    (tmp_path / "broken.jpg").write_bytes(TRUNCATED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bgr", [False, True])
def test_a_filter_for_red_is_red(bgr):
    """Whatever order of colours the net takes."""
    model = net()
    kernel = np.zeros(model.get_layer("block1_conv1").kernel.shape, np.float32)
    kernel[1, 1, 2 if bgr else 0, 0] = 3.0  # wants red in the middle
    kernel[0, 0, :, 1] = -2.0  # wants black in a corner
    model.get_layer("block1_conv1").kernel.assign(kernel)
    preprocessing.remember(model, preprocessing.Preprocessing(mean=(120, 110, 100), std=(60, 60, 60), bgr=bgr))
    filters = learnt.first_filters(model)
    assert filters.shape == (kernel.shape[-1], 3, 3, 3)
    assert filters[0, 1, 1].tolist() == [1, 0.5, 0.5]
    assert filters[1, 0, 0].tolist() == [0, 0, 0]
    assert (np.delete(filters[0].reshape(9, 3), 4, axis=0) == 0.5).all()
    assert (filters[2] == 0.5).all()  # of zeros


def test_filters_are_the_images_that_move_them_most():
    """By another route: the gradient of the convolution's output by an RGB image's pixels."""
    import tensorflow as tf

    model = net()
    filters, pixels = learnt.first_filters(model), tf.zeros((1, 3, 3, 3))
    for number in range(len(filters)):
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            moved = tf.nn.conv2d(WANTS(pixels), model.get_layer("block1_conv1").kernel, 1, "VALID")[0, 0, 0, number]
        gradient = tape.gradient(moved, pixels)[0].numpy()
        np.testing.assert_allclose(filters[number], 0.5 + 0.5 * gradient / np.abs(gradient).max(), atol=1e-6)


def test_maps_are_those_of_the_plain_model():
    model = net()
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    for layer in ("block1_conv1", "block3_pool"):
        expected = keras.Model(model.inputs, model.get_layer(layer).output)([np.array(WANTS(image[None]))])[0]
        np.testing.assert_allclose(learnt.feature_maps(model, image, layer), expected, atol=1e-5)
    assert learnt.layers_with_maps(model)[-1] == "block5_pool"


def test_the_strongest_channels_by_hand():
    maps = np.zeros((2, 2, 4))
    maps[0, 0], maps[1, 1] = (9, 0, 3, 5), (0, 1, 3, 5)
    assert learnt.strongest(maps, 3) == [3, 0, 2]
    assert learnt.strongest(maps, 9) == [3, 0, 2, 1]


def test_pictures_and_what_they_carry(here, run, capsys):
    arguments = ["photo.jpg", "--model", str(run), "--filters", "f.png", "--layer", "block3_conv1", "--maps", "m.png"]
    look.main([*arguments, "--channels", "5"])
    model = open_net_file(run).load_model()
    channels = model.get_layer("block3_conv1").output.shape[-1]
    filters = model.get_layer("block1_conv1").kernel.shape[-1]
    assert capsys.readouterr().out.splitlines() == [f"{filters} filters: f.png", f"5 of {channels} maps of block3_conv1: m.png"]
    for name in ("f.png", "m.png"):
        with Image.open(name) as picture:
            told = picture.text
            assert min(picture.size) > 60
        assert (told["net sha256"], told["code sha256"]) == (digest_of_net(model), digest_of_code())
    assert told["image sha256"] == hashlib.sha256(ENCODED[0]).hexdigest()
    maps = learnt.feature_maps(model, prediction.read_image("photo.jpg", 40)[0], "block3_conv1")
    assert json.loads(told["channels"]) == learnt.strongest(maps, 5)


def test_nets_without_their_top_have_maps_too(here, tmp_path):
    net_without_top().save(tmp_path / "net.keras")
    arguments = ["--model", "net.keras", "--preprocessing", "caffe", "--scale", "64", "--layer", "block5_pool", "--maps", "m.png"]
    look.main(["photo.jpg", *arguments])
    assert (here / "m.png").exists()


@pytest.mark.filterwarnings("error")
def test_sheets_of_any_pictures(tmp_path):
    random = np.random.default_rng(0)
    pictures = [random.random((3, 3, 3)), random.random((4, 9)), np.zeros((9, 4)), np.zeros((5, 5, 3), np.uint8)]
    sheet.draw(tmp_path / "a.png", pictures, ["$a_", "b\nc", "", "花"], title="$^" * 40, facts={"net": "花"}, columns=3)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["net"] == "花"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "photo.jpg --layer block3_conv9 --maps m.png",
            r"layer with feature maps. Received: 'block3_conv9'; the net has block3_conv",
        ),
        ("photo.jpg --layer fc1 --maps m.png", r"Received: 'fc1'; the net has block1_conv1 … block5_pool"),
        ("photo.jpg --layer block1_pool --maps m.png --scale 31", r"`--scale` must be at least 32, .* Received: 31"),
        ("broken.jpg --layer block1_pool --maps m.png", r"Expected an image. Received: broken\.jpg"),
        ("no.jpg --layer block1_pool --maps m.png", r"Expected an image. Received: no\.jpg"),
        ("--filters no/f.png", r"a file in an existing folder. Received: no/f\.png"),
    ],
)
def test_a_mistake_is_told(here, run, arguments, told):
    with pytest.raises(InputError, match=told):
        look.main([*arguments.split(), "--model", str(run)])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "Pass --filters FILE, --maps FILE or both"),
        ("--filters f.jpg", "Argument --filters: must end in .png (received f.jpg)"),
        ("photo.jpg --maps m.png", "IMAGE, --layer and --maps must be passed together"),
        ("photo.jpg --filters f.png", "IMAGE, --layer and --maps must be passed together"),
        ("photo.jpg --maps m.png --layer x --channels 0", "Argument --channels: must be at least 1 (received 0)"),
    ],
)
def test_flags_that_make_no_sense(capsys, arguments, told):
    with pytest.raises(SystemExit) as ended:
        look.main(["--model", "run", *arguments.split()])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
