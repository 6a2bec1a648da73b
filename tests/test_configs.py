import pytest

from keras_vgg import configs
from keras_vgg.errors import InputError

# Table 2 of the paper gives them in millions (133, 133, 134, 138, 144); to the unit they follow from Table 1.
PARAMETERS = {
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
}
WEIGHT_LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}
GIGA_MULTIPLY_ADDS = {"A": 7.61, "B": 11.31, "D": 15.47, "E": 19.63}  # as torchvision lists them
LAST_RECEPTIVE_FIELD = {"A": 150, "A-LRN": 150, "B": 156, "C": 156, "D": 212, "E": 268}


def facts_by_name(arch, **kwargs):
    return {layer.name: layer for layer in configs.layer_facts(arch, **kwargs)}


@pytest.mark.parametrize("arch", configs.CONFIGS)
def test_parameters_are_the_papers(arch):
    assert configs.parameter_count(arch) == PARAMETERS[arch]


@pytest.mark.parametrize("arch", configs.CONFIGS)
def test_depth_is_that_of_table_1(arch):
    assert configs.get_config(arch).depth == WEIGHT_LAYERS[arch]
    assert sum(layer.parameters > 0 for layer in configs.layer_facts(arch)) == WEIGHT_LAYERS[arch]


@pytest.mark.parametrize("arch", GIGA_MULTIPLY_ADDS)
def test_multiply_adds_are_the_known_ones(arch):
    total = sum(layer.multiply_adds for layer in configs.layer_facts(arch))
    assert round(total / 1e9, 2) == GIGA_MULTIPLY_ADDS[arch]


def test_figures_of_single_layers_by_hand():
    layers = facts_by_name("D")
    assert layers["block1_conv2"].multiply_adds == 3 * 3 * 64 * 64 * 224 * 224
    assert layers["block1_conv2"].parameters == 3 * 3 * 64 * 64 + 64
    assert layers["block3_conv1"].parameters == 3 * 3 * 128 * 256 + 256
    assert layers["block3_conv1"].shape == (56, 56, 256)
    assert layers["fc1"].parameters == layers["fc1"].multiply_adds + 4096 == 7 * 7 * 512 * 4096 + 4096
    assert facts_by_name("C")["block4_conv3"].parameters == 512 * 512 + 512  # the 1x1 kernel


def test_stacked_small_kernels_see_what_a_large_one_sees():
    # Sec. 2.3: two 3x3 see 5x5, three see 7x7. In block 3 a pixel stands for 4, so that the field grows by 8 a layer.
    layers = facts_by_name("D")
    assert [layers[f"block1_conv{i}"].receptive_field for i in (1, 2)] == [3, 5]
    before = layers["block2_pool"].receptive_field
    assert [(layers[f"block3_conv{i}"].receptive_field - before) // 4 + 1 for i in (1, 2, 3)] == [3, 5, 7]
    c = facts_by_name("C")
    assert c["block3_conv3"].receptive_field == c["block3_conv2"].receptive_field  # 1x1 sees no further


@pytest.mark.parametrize("arch", configs.CONFIGS)
def test_receptive_field_of_the_feature_map(arch):
    assert facts_by_name(arch)["block5_pool"].receptive_field == LAST_RECEPTIVE_FIELD[arch]
    assert facts_by_name(arch)["fc1"].receptive_field is None


def test_activation_values_by_hand():
    # 32x32, one filter of 64 at width 1/64: 1, 2, 4, 8, 8 filters; fc of 64; 10 classes.
    convs = 32 * 32 * 1 + 16 * 16 * 2 + 2 * 8 * 8 * 4 + 2 * 4 * 4 * 8 + 2 * 2 * 2 * 8
    pools = 16 * 16 * 1 + 8 * 8 * 2 + 4 * 4 * 4 + 2 * 2 * 8 + 1 * 1 * 8
    assert configs.activation_values("A", input_shape=(32, 32, 3), classes=10, width=1 / 64) == convs + pools + 64 + 64 + 10


def test_odd_sides_are_rounded_down_by_pooling():
    layers = facts_by_name("A", input_shape=(63, 100, 3))
    assert layers["block1_pool"].shape[:2] == (31, 50)
    assert layers["block5_pool"].shape == (1, 3, 512)
    assert layers["fc1"].parameters == 3 * 512 * 4096 + 4096


@pytest.mark.parametrize("width", [0.0, float("inf"), float("nan")])
def test_a_width_that_scales_nothing_is_told(width):
    with pytest.raises(InputError, match=f"`width` must be positive. Received: width={width}"):
        configs.layer_facts("A", width=width)


@pytest.mark.parametrize(("units", "width", "expected"), [(64, 1.0, 64), (64, 0.05, 3), (4096, 0.125, 512), (64, 1e-9, 1)])
def test_scaled_width(units, width, expected):
    assert configs.scaled_width(units, width) == expected


def test_unknown_arch_names_the_choices():
    with pytest.raises(InputError, match=r"`arch` must be one of A, A-LRN, B, C, D, E, or VGG11, .*, VGG19\. Received: 'F'"):
        configs.get_config("F")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("D", ("D", False)), ("d", ("D", False)), ("A-LRN", ("A-LRN", False)), ("a_lrn", ("A-LRN", False))),
        *(("VGG16", ("D", False)), ("vgg-16", ("D", False)), ("vgg16c", ("C", False)), ("VGG11LRN", ("A-LRN", False))),
        *(("vgg19_bn", ("E", True)), ("VGG13BN", ("B", True)), ("D_bn", ("D", True))),
    ],
)
def test_nets_by_their_common_names(name, expected):
    assert configs.net_called(name) == expected


def test_batch_norm_is_no_part_of_a_row():
    assert configs.get_config("vgg16") is configs.CONFIGS["D"]
    with pytest.raises(InputError, match=r"a net without batch norm; pass batch_norm=True for that\. Received: D with it"):
        configs.get_config("vgg16_bn")
