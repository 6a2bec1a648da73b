"""SavedModels that Keras, TensorFlow 1 and TensorFlow Hub make, and our own, wherever they are given: what is wrong, in a line."""

import shutil

import keras
import local_server
import numpy as np
import pytest
import requests
import small_served_model
import tensorflow as tf
from small_images import ENCODED

from keras_vgg import client, convert, evaluate, export, extract, fit, look, predict, serve, transfer_eval
from keras_vgg.errors import InputError
from keras_vgg.weights.weight_file import find_file

OF_KERAS = "pass the model's weights, such as a Keras model saved with model.save('net.keras')"
OURS = "pass the run folder or weight file that it was exported from"


@pytest.fixture(scope="module")
def net():
    images = keras.Input((None, None, 3), name="input_layer")
    x = keras.layers.Conv2D(2, 3, padding="same", name="block1_conv1")(images)
    return keras.Model(images, keras.layers.Dense(4, "softmax", name="predictions")(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def folders(net, tmp_path_factory):
    """`{kind: folder}`."""
    root = tmp_path_factory.mktemp("others")
    net.export(str(root / "keras"), verbose=False)
    tf.saved_model.save(net, str(root / "tf"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # as hub modules of TensorFlow 1: no tag, inputs in a graph
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3])
        scores = tf.reduce_mean(images, [1, 2]) @ tf.compat.v1.get_variable("weights", [3, 2])
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.predict_signature_def({"images": images}, {"default": scores})
        builder = tf.compat.v1.saved_model.Builder(str(root / "hub"))
        builder.add_meta_graph_and_variables(session, [], signature_def_map={"default": signature})
        builder.save()
    small_served_model.save(root / "ours")
    (root / "ours" / "2" / "model_card.json").write_text("{}")
    return {path.name: path for path in root.iterdir()}


@pytest.mark.parametrize(
    ("kind", "within", "instead"),
    [
        ("keras", "", OF_KERAS),
        ("keras", "saved_model.pb", OF_KERAS),
        ("keras", "variables", OF_KERAS),
        ("keras", "variables/variables.index", OF_KERAS),
        ("tf", "", OF_KERAS),
        ("hub", "", OF_KERAS),
        ("ours", "", OURS),
        ("ours", "2", OURS),
    ],
)
def test_no_weights_are_taken_from_them(kind, within, instead, folders):
    given = folders[kind] / within
    saved = given if (given / "saved_model.pb").exists() or not within else folders[kind]
    with pytest.raises(InputError) as raised:
        find_file(given)
    assert str(raised.value) == (
        f"Expected a run folder with best.keras, a weight file, or public weights. Received: {given}, a SavedModel, which is for "
        f"serving (python -m keras_vgg.serve --model {saved}) and cannot be converted back; {instead}."
    )


def test_a_run_folder_with_an_export_in_it_is_a_run_folder(folders, net, tmp_path):
    shutil.copytree(folders["ours"] / "2", tmp_path / "1")
    net.save(tmp_path / "best.keras")
    assert find_file(tmp_path) == tmp_path / "best.keras"


def test_weights_beside_one_are_weights(folders, net, tmp_path):
    shutil.copytree(folders["keras"], tmp_path / "both")
    net.save(tmp_path / "both" / "net.keras")
    assert find_file(tmp_path / "both" / "net.keras") == tmp_path / "both" / "net.keras"


@pytest.fixture
def image(tmp_path):
    (tmp_path / "image.png").write_bytes(ENCODED[0])
    return tmp_path / "image.png"


COMMANDS = {
    predict: "{image} --model {model}",
    look: "--model {model} --filters {out}.png",
    evaluate: "--model {model} --dataset digits --out {out}",
    extract: "--model {model} --images {image} --out {out}.npz",
    export: "--model {model} --out {out}",
    convert: "{model} {out}.keras",
    transfer_eval: "--model {model} --dataset digits --out {out}",
    fit: "--init-from {model} --dataset digits --workdir {out}",
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_says_so(command, folders, image, tmp_path):
    arguments = COMMANDS[command].format(model=folders["keras"], image=image, out=tmp_path / "out").split()
    with pytest.raises(InputError, match=rf"Received: {folders['keras']}, a SavedModel, which is for serving .*\.$"):
        command.main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


@pytest.mark.parametrize("kind", ["keras", "tf"])
def test_those_of_keras_are_served_but_not_to_the_client(kind, folders, net, image, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype(np.float32)
    with local_server.serving(folders[kind]) as addresses:
        answer = requests.post(f"{addresses.rest}/v1/models/vgg:predict", json={"instances": pixels.tolist()}, timeout=20).json()
        np.testing.assert_allclose(answer["predictions"], net(pixels), atol=1e-5)
        for url in (addresses.grpc, addresses.rest):
            with pytest.raises(InputError) as raised:
                client.main([str(image), "--url", url])
            assert str(raised.value).startswith(
                f"Version 1 of the model 'vgg' at {url} must have a signature 'classify' with the outputs class_ids, class_names, "
                "error, scores. It has: "
            )
            assert "serving_default (output_0)" in str(raised.value)
            assert str(raised.value).endswith("The client sends image files; export the net with python -m keras_vgg.export.")


def test_those_of_hub_for_tensorflow_1_are_not_served(folders):
    ports = ["--port", "0", "--rest-port", str(local_server.free_port())]
    with pytest.raises(InputError) as raised:
        serve.main(["--model", str(folders["hub"]), *ports])
    assert str(raised.value) == (
        f"{folders['hub']} cannot be served: it has no graph with only the tag 'serve', which is required for serving (no tag); "
        "export nets with python -m keras_vgg.export, other Keras models with model.export(folder)."
    )


def test_no_version_is_exported_into_one(folders, tmp_path):
    with pytest.raises(InputError, match=r"must be a folder for numbered versions, .* Received: \S+, which is a SavedModel\.$"):
        export.main(["--model", "vgg16", "--out", str(folders["keras"])])
    assert not (folders["keras"] / "1").exists()
