"""Keras models that people make of a VGG net and a head of their own, with what their own layers do to images."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from small_images import encode

from keras_vgg import configs, convert, evaluate, extract, fit, predict, preprocessing, transfer
from keras_vgg.descriptors import descriptor_file
from keras_vgg.errors import InputError
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.models import build_vgg
from keras_vgg.weights import loading
from keras_vgg.weights.weight_file import open_weights

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once")

SIDE, WIDTH = 40, 1 / 16


def convolutions(side=SIDE, **kwargs):
    """As `keras.applications.VGG16(include_top=False)`, but narrow."""
    return build_vgg("D", include_top=False, input_shape=(side, side, 3), width=WIDTH, **kwargs)


def sequential_with_flatten():
    head = [
        layers.Flatten(),
        layers.Dense(12, "relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.Dense(3, "softmax"),
    ]
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), convolutions(), *head])


def spread_out_with_one_sigmoid():
    base = convolutions()
    hidden = layers.Dense(12, "relu")(layers.GlobalAveragePooling2D()(base.output))
    return keras.Model(base.input, layers.Dense(1, "sigmoid")(hidden))


def nested_behind_augmentation_and_preprocessing():
    images = keras.Input((SIDE, SIDE, 3))
    augmented = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])(images)
    maps = convolutions()(keras.applications.vgg16.preprocess_input(augmented), training=False)
    return keras.Model(images, layers.Dense(1)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(maps))))


def several_labels_of_the_largest_values():
    images = keras.Input((SIDE, SIDE, 3))
    return keras.Model(images, layers.Dense(4, "sigmoid")(convolutions(None, pooling="max")(layers.Rescaling(1 / 255)(images))))


def resized_to_tf():
    images = keras.Input((None, None, 3))
    maps = convolutions()(layers.Rescaling(1 / 127.5, -1)(layers.Resizing(SIDE, SIDE)(images)))
    return keras.Model(images, layers.Dense(4, "softmax")(layers.Flatten()(maps)))


def written_layer_by_layer():
    chain = [keras.Input((SIDE, SIDE, 3))]
    for block in configs.get_config("D").blocks:
        for each in block:
            chain += [layers.Conv2D(each.filters // 16, 3, padding="same"), layers.Activation("relu")]
        chain.append(layers.MaxPool2D())
    for _ in range(2):
        chain += [layers.Dense(256, "relu"), layers.Dropout(0.5)]
    chain.insert(-4, layers.Flatten())
    return keras.Sequential([*chain, layers.Dense(6, "softmax")])


def of_plain_images():
    net = build_vgg("D", input_shape=(SIDE, SIDE, 3), width=WIDTH, classes=4)
    return keras.Sequential([keras.Input((None, None, 3)), preprocessing.ImageTransform(SIDE, SIDE, preprocessing.CAFFE), net])


def pooled():
    return keras.Sequential([convolutions(), layers.GlobalAveragePooling2D(), layers.Dense(5, "softmax")])


# What each is: its net, its own head, its classes, what its own layers make of images.
MODELS = {
    sequential_with_flatten: ("D", "Flatten, Dense 12, BatchNormalization, Dropout, Dense 3", 3, None),
    spread_out_with_one_sigmoid: ("D", "GlobalAveragePooling2D, Dense 12, Dense 1", 2, None),
    nested_behind_augmentation_and_preprocessing: ("D", "GlobalAveragePooling2D, Dropout, Dense 1", 2, preprocessing.CAFFE),
    several_labels_of_the_largest_values: ("D", "GlobalMaxPooling2D, Dense 4", 4, preprocessing.UNIT),
    resized_to_tf: ("D", "Flatten, Dense 4", 4, preprocessing.TF),
    written_layer_by_layer: ("D", "None", 6, None),
    of_plain_images: ("D", "None", 4, preprocessing.CAFFE),
    pooled: ("D-pool", "None", 5, None),
}


def own_answer(model, images):
    """What the model itself says, of one output the probabilities of both classes."""
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    if outputs.shape[1] > 1:
        return outputs
    is_probability = model.layers[-1].activation is keras.activations.sigmoid
    second = outputs if is_probability else 1 / (1 + np.exp(-outputs))
    return np.concatenate([1 - second, second], axis=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Makes a model once, saves it, and returns the model and the file."""
    kept = {}

    def save(make, suffix=".keras"):
        if make not in kept:
            keras.utils.set_random_seed(len(kept))
            kept[make] = make()
        path = tmp_path_factory.getbasetemp() / "own" / f"{make.__name__}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            kept[make].save(path)
        return kept[make], path

    return save


@pytest.mark.parametrize("make", MODELS)
def test_it_is_told_for_what_it_is_and_says_what_keras_says(make, saved):
    model, path = saved(make)
    arch, head, classes, wants = MODELS[make]
    file = open_weights(path)
    assert (file.arch, str(file.head), file.num_classes, file.preprocessing) == (arch, head, classes, wants)
    network = open_net_file(str(path), preprocessing=None if wants else "torch").load()
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    expected = own_answer(model, images.astype(np.float32) if wants else preprocessing.TORCH(images))
    for kind in ("center", "dense", "multi-crop"):
        found = network.posteriors(images, kind, flip=False)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=kind)
    np.testing.assert_allclose(network.own_posteriors(images), expected, rtol=0, atol=1e-5)
    assert network.score_map(images).shape == (2, 1, 1, classes)


@pytest.mark.parametrize("make", [sequential_with_flatten, resized_to_tf])
def test_models_in_the_old_format_are_taken(make, saved):
    model, path = saved(make, ".h5")
    assert str(open_weights(path).head) == MODELS[make][1]
    loaded = transfer.load_model(path)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_flattens_is_looked_at_densely_and_what_pools_is_looked_at_whole(saved):
    """A dense place is a crop through the model; a pooled map is the model on a larger image."""
    images = np.random.default_rng(1).integers(0, 256, (1, 3 * SIDE, 3 * SIDE, 3), dtype=np.uint8)
    _, path = saved(sequential_with_flatten)
    network = open_net_file(str(path), preprocessing="torch").load()
    assert network.has_score_map
    assert network.score_map(images).shape == (1, 3, 3, 3)
    _, path = saved(spread_out_with_one_sigmoid)
    network = open_net_file(str(path), preprocessing="torch").load()
    assert not network.has_score_map
    assert network.score_map(images).shape == (1, 1, 1, 2)
    model = transfer.load_model(path)
    whole = keras.Input((None, None, 3))
    outputs = whole
    for layer in model.layers[1:]:
        outputs = layer(outputs)
    expected = own_answer(keras.Model(whole, outputs), preprocessing.TORCH(images))
    np.testing.assert_allclose(network.posteriors(images, "dense", flip=False), expected, rtol=0, atol=1e-5)


def test_commands_take_it(saved, tmp_path, monkeypatch, capsys):
    """Two classes told by one sigmoid: tested, predicted, begun from, converted, looked at for features."""
    monkeypatch.chdir(tmp_path)
    _, path = saved(nested_behind_augmentation_and_preprocessing)
    data = tmp_path / "data"
    for number, (part, name) in enumerate([(part, name) for part in ("train", "val") for name in ("cat", "dog")] * 4):
        (data / part / name).mkdir(parents=True, exist_ok=True)
        (data / part / name / f"{number}.png").write_bytes(encode(50, 60, 3, "PNG", number))
    evaluate.main(["--model", str(path), "--dataset", f"folder:{data}", "--protocol", "center", "dense", "--scales", "48"])
    assert "from the model's own layers" in capsys.readouterr().out
    image = next((data / "val").rglob("*.png"))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    drawn = ["--heatmap", "map.png", "--class", "cat"]
    predict.main([str(image), "--model", str(path), "--classes", "names.txt", "--scales", "48", "--json", *drawn])
    told = json.loads(capsys.readouterr().out.splitlines()[0])
    assert {each["class"] for each in told["top"]} == {"cat", "dog"}
    assert sum(each["posterior"] for each in told["top"]) == pytest.approx(1)
    assert (tmp_path / "map.png").stat().st_size
    convert.main([str(path), "convolutions.pth"])
    assert "was not converted" in capsys.readouterr().out
    assert open_weights("convolutions.pth").include_top is False
    extract.main(["--model", str(path), "--images", str(image), "--out", "one.npz", "--layer", "block5_pool"])
    assert descriptor_file.DescriptorFile.read("one.npz").features.shape == (1, 32)
    fit.main(
        [
            "--init-from",
            str(path),
            "--dataset",
            f"folder:{data}",
            "--epochs",
            "1",
            "--workdir",
            "run",
            "--crop",
            "32",
            "--scale",
            "32",
        ]
    )
    assert "copied: block1_conv1" in capsys.readouterr().out
    assert open_weights("run").arch == "D-pool"


def with_a_branch():
    base = convolutions()
    pools = [layers.GlobalAveragePooling2D()(base.output), layers.GlobalMaxPooling2D()(base.output)]
    return keras.Model(base.input, layers.Dense(3)(layers.Concatenate()(pools)))


def of_another_net():
    chain = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.MaxPool2D(), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *chain])


def behind_something_else():
    images = keras.Input((SIDE, SIDE, 3))
    return keras.Model(images, layers.Dense(3)(layers.Flatten()(convolutions()(layers.AveragePooling2D(3, 1, "same")(images)))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_a_branch, "layers form one chain after its first convolution. Received: .*Concatenate"),
        (of_another_net, "which is closest to net A but has nothing instead of convolution 3x3 after 3 operations"),
        (behind_something_else, "change only scale, mean or color order. Received: .*--preprocessing"),
    ],
)
def test_what_cannot_be_taken_is_told_in_a_line(make, message, saved):
    _, path = saved(make)
    with pytest.raises(InputError, match=message):
        open_weights(path)


def test_from_python_nothing_is_added_to_what_its_layers_do(saved):
    """As Keras itself loads it; and the top that it has not is told."""
    _, path = saved(several_labels_of_the_largest_values)
    assert preprocessing.for_model(keras.saving.load_model(path)) == preprocessing.NONE
    net = build_vgg("D", input_shape=(SIDE, SIDE, 3), width=WIDTH, classes=4)
    with pytest.raises(InputError, match=r"has its own head \(GlobalMaxPooling2D, Dense 4\) instead of the top"):
        loading.load_weights(net, path)


def test_weights_alone_of_such_a_model_are_told(saved, tmp_path):
    model, _ = saved(sequential_with_flatten)
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(InputError, match=r"also contains .*; weights alone do not define these layers: save the whole model"):
        open_weights(tmp_path / "net.weights.h5")
