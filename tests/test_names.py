import json

import pytest
from torch_forward import run_with

from keras_vgg import configs
from keras_vgg.weights import names
from keras_vgg.weights.names import CAFFE, KERAS, KERAS_NUMBERED, SCHEMES, TIMM, TORCHVISION

D_LAYERS = [f"block{block}_conv{conv}" for block, depth in enumerate((2, 2, 3, 3, 3), start=1) for conv in range(1, depth + 1)]
A_LAYERS = ["block1_conv1", "block2_conv1", *(f"block{block}_conv{conv}" for block in (3, 4, 5) for conv in (1, 2))]


def shapes_of(scheme, arch, batch_norm=False, include_top=True, side=2):
    """Names and shapes of a narrow net's arrays, worked out from Table 1."""
    outputs = {f"block{block}": each.filters // 16 for block, _, each in configs.get_config(arch).places()}
    kernels = {name: each.kernel for name, each in configs.get_config(arch).convolutions.items()}
    shapes, channels = {}, 3
    for (layer, variable), array in scheme.arrays(arch, batch_norm=batch_norm, include_top=include_top).items():
        units = outputs.get(layer.split("_")[0], 10)
        if variable != "kernel":
            shapes[array] = (units,)
            continue
        if layer in kernels:
            shape = (kernels[layer], kernels[layer], channels, units)
            shapes[array] = shape if scheme.keras_layout else (shape[3], shape[2], *shape[:2])
        else:
            inputs = channels * side * side if layer == "fc1" else channels
            shapes[array] = (inputs, units) if scheme.keras_layout else (units, inputs)
        channels = units
    return shapes


# --- Tables by hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "batch_norm", "layers", "indices"),
    [
        ("A", False, A_LAYERS, (0, 3, 6, 8, 11, 13, 16, 18)),
        ("A", True, A_LAYERS, (0, 4, 8, 11, 15, 18, 22, 25)),
        ("D", False, D_LAYERS, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        ("D", True, D_LAYERS, (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)),
    ],
)
@pytest.mark.parametrize("scheme", [TORCHVISION, TIMM])
def test_torchs_numbers_of_the_convolutions(scheme, arch, batch_norm, layers, indices):
    arrays = scheme.arrays(arch, batch_norm=batch_norm)
    assert [array for (layer, variable), array in arrays.items() if "conv" in layer and variable == "kernel"] == [
        f"features.{index}.weight" for index in indices
    ]
    for layer, index in zip(layers, indices, strict=True):
        assert arrays[layer, "bias"] == f"features.{index}.bias"
        if batch_norm:  # is the module after its convolution
            names_of = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
            for variable, name in names_of.items():
                assert arrays[layer.replace("conv", "bn"), variable] == f"features.{index + 1}.{name}"


@pytest.mark.parametrize(
    ("scheme", "kernels"),
    [
        (TORCHVISION, ("classifier.0.weight", "classifier.3.weight", "classifier.6.weight")),
        (TIMM, ("pre_logits.fc1.weight", "pre_logits.fc2.weight", "head.fc.weight")),
        (CAFFE, ("fc6/0", "fc7/0", "fc8/0")),
        (KERAS, ("fc1/0", "fc2/0", "predictions/0")),
        (KERAS_NUMBERED, ("dense/0", "dense_1/0", "dense_2/0")),
    ],
)
def test_names_of_the_fc_layers(scheme, kernels):
    arrays = scheme.arrays("E")
    assert tuple(arrays[layer, "kernel"] for layer in ("fc1", "fc2", "predictions")) == kernels
    assert arrays["fc2", "bias"] == kernels[1].replace("weight", "bias").replace("/0", "/1")
    assert not set(kernels) & set(scheme.arrays("E", include_top=False).values())


def test_names_of_the_convolutions_in_caffe_and_keras():
    caffe, keras, numbered = (scheme.arrays("D") for scheme in (CAFFE, KERAS, KERAS_NUMBERED))
    assert (caffe["block1_conv1", "kernel"], caffe["block5_conv3", "bias"]) == ("conv1_1/0", "conv5_3/1")
    assert (keras["block1_conv1", "kernel"], keras["block5_conv3", "bias"]) == ("block1_conv1/0", "block5_conv3/1")
    assert (numbered["block1_conv1", "kernel"], numbered["block5_conv3", "bias"]) == ("conv2d/0", "conv2d_12/1")
    with_batch_norm = KERAS_NUMBERED.arrays("D", batch_norm=True)
    assert with_batch_norm["block1_bn1", "gamma"] == "batch_normalization/0"
    assert with_batch_norm["block5_bn3", "moving_variance"] == "batch_normalization_12/3"


def test_number_of_arrays():
    assert len(TORCHVISION.arrays("D")) == 32
    assert len(TORCHVISION.arrays("D", batch_norm=True)) == 32 + 13 * 4
    assert len(TORCHVISION.arrays("E", include_top=False)) == 32


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("arch", configs.CONFIGS)
def test_layers_are_those_of_the_model(arch, batch_norm):
    from keras_vgg.models import build_vgg

    model = build_vgg(arch, input_shape=(32, 32, 3), width=0.02, classes=2, batch_norm=batch_norm)
    expected = {(layer.name, weight.name) for layer in model.layers for weight in layer.weights}
    assert set(KERAS.arrays(arch, batch_norm=batch_norm)) == expected
    for (layer, variable), array in KERAS.arrays(arch, batch_norm=batch_norm).items():
        name, number = array.split("/")
        assert (name, model.get_layer(layer).weights[int(number)].name) == (layer, variable)


# --- Which net a file holds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("arch", configs.CONFIGS)
@pytest.mark.parametrize(
    ("scheme", "batch_norm"), [(scheme, bn) for scheme in SCHEMES for bn in (False, True) if scheme.with_batch_norm or not bn]
)
def test_net_is_found_by_its_names_and_kernels(scheme, arch, batch_norm, include_top):
    shapes = shapes_of(scheme, arch, batch_norm, include_top)
    match = names.closest(shapes)
    assert (match.arch, match.batch_norm, match.include_top) == (arch.removesuffix("-LRN"), batch_norm, include_top)
    assert match.arrays == scheme.arrays(arch, batch_norm=batch_norm, include_top=include_top)
    assert match.scheme is scheme or (match.scheme, scheme, include_top) == (TORCHVISION, TIMM, False)
    assert (match.distance, match.problem, match.is_hopeless) == (0, "nothing", False)
    assert names.closest(shapes, (arch,), (batch_norm,)).distance == 0  # A-LRN if asked for
    alike = set() if include_top else {configs.CONFIGS[match.arch].pooled.arch}  # which has the same convolutions
    for other in set(configs.distinct()) - {match.arch} - alike:
        assert names.closest(shapes, (other,)).distance > 0
    assert names.closest(shapes, (arch,), (not batch_norm,)).distance > 0


@pytest.mark.parametrize("scheme", [KERAS, TORCHVISION, CAFFE], ids=lambda scheme: scheme.name)
def test_net_c_differs_from_d_in_three_kernels(scheme):
    match = names.closest(shapes_of(scheme, "C"), ("D",))
    arrays = scheme.arrays("D")
    assert match.other_kernels == tuple(arrays[f"block{block}_conv3", "kernel"] for block in (3, 4, 5))
    assert match.problem.startswith(f"has another kernel size in block3_conv3 ({match.other_kernels[0]}), block4_conv3 (")


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("axis", [0, 1])
def test_kernel_that_is_no_square_is_told(scheme, axis):
    shapes = shapes_of(scheme, "A")
    array = scheme.arrays("A")["block2_conv1", "kernel"]
    shape = list(shapes[array])
    shape[axis if scheme.keras_layout else 2 + axis] = 5
    shapes[array] = tuple(shape)
    match = names.closest(shapes)
    assert (match.arch, match.other_kernels) == ("A", (array,))
    assert match.problem == f"has another kernel size in block2_conv1 ({array})"


@pytest.mark.parametrize("arch", configs.distinct())
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_missing_and_extra_arrays_are_named(scheme, arch):
    shapes = shapes_of(scheme, arch)
    array = scheme.arrays(arch)["block4_conv2", "bias"]
    lacking = names.closest({name: shape for name, shape in shapes.items() if name != array})
    assert (lacking.arch, lacking.scheme, lacking.missing, lacking.extra) == (arch, scheme, (array,), ())
    assert lacking.problem == f"lacks block4_conv2 ({array})"
    more = names.closest(shapes | {"head.extra": (3,)})
    assert (more.arch, more.missing, more.extra, more.problem) == (arch, (), ("head.extra",), "also contains head.extra")
    assert lacking.distance == more.distance == 1
    assert not lacking.is_hopeless


def test_problem_names_three_and_says_that_there_are_others():
    shapes = shapes_of(TORCHVISION, "A")
    first = list(shapes)[:4]
    match = names.closest({name: shape for name, shape in shapes.items() if name not in first})
    assert match.problem == (
        "lacks block1_conv1 (features.0.weight), block1_conv1 (features.0.bias), block2_conv1 (features.3.weight) and others"
    )
    three = names.closest({name: shape for name, shape in shapes.items() if name not in first[:3]})
    assert three.problem.endswith("block2_conv1 (features.3.weight)")


def test_another_net_is_hopeless():
    resnet = {f"layer{block}.{unit}.conv1.weight": (64, 64, 3, 3) for block in (1, 2, 3, 4) for unit in (0, 1)}
    assert names.closest(resnet).is_hopeless
    assert names.closest({}).is_hopeless
    half = dict(list(shapes_of(TORCHVISION, "D").items())[:17])
    assert not names.closest(half).is_hopeless


def test_nets_in_words():
    assert names.net_name("A-LRN") == "net A-LRN"
    assert names.net_name("D", batch_norm=True, include_top=False) == "net D with batch norm without the top"
    assert str(names.closest(shapes_of(TIMM, "B", batch_norm=True))) == "net B with batch norm"


# --- The libraries' own word ----------------------------------------------------------------------------------------------


PROGRAMS = {
    "torchvision": "from torchvision import models\nmakers = vars(models)",
    "timm": "import timm\nmakers = {name: lambda name=name: timm.create_model(name) for name in names}",
}


@pytest.mark.parametrize("library", PROGRAMS)
def test_state_dicts_of_torch_are_recognised(library):
    nets = {
        f"vgg{depth}{bn}": (arch, bool(bn)) for arch, depth in {"A": 11, "B": 13, "D": 16, "E": 19}.items() for bn in ("", "_bn")
    }
    program = f"""
import json, torch
names = {list(nets)}
{PROGRAMS[library]}
with torch.device("meta"):  # names and shapes without numbers
    states = {{name: makers[name]().state_dict() for name in names}}
print(json.dumps({{net: {{name: a.shape for name, a in state.items() if a.is_floating_point()}} for net, state in states.items()}}))
"""
    for net, shapes in json.loads(run_with(("torch", library), program)).items():
        match = names.closest(shapes)
        assert (match.arch, match.batch_norm, match.include_top, match.distance) == (*nets[net], True, 0)
        assert match.scheme is (TIMM if library == "timm" else TORCHVISION)
        assert list(match.arrays.values()) == list(shapes)  # in the same order
