import dataclasses
import pathlib

import pytest

from keras_vgg import preprocessing, recipe
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe, read_recipe, resolve, to_toml
from keras_vgg.recipe_bounds import bounds
from keras_vgg.support import cli

RECIPES = sorted(
    path
    for path in (pathlib.Path(__file__).parents[1] / "recipes").glob("*.toml")
    if not path.stem.startswith(("table", "evaluate", "localise", "style", "paper", "throughputs"))  # those are for other commands
)

OUT_OF_BOUNDS = {
    "width": [0.0, -1.0, float("nan"), float("inf")],
    "crop": [31],
    "jitter": [(223, 512), (512, 256), (256,), (256, 384, 512)],
    "scale": [223],
    "batch_size": [0],
    "micro_batch": [0, "all"],
    "rand_augment": [(0, 5), (2, 11), (2, -1), (2,)],
    "random_erasing": [-0.1, 1.1],
    "mixup": [-0.1, float("inf")],
    "cutmix": [-0.1, float("nan")],
    "layer_rate_decay": [0.0, 1.1],
    "head_rate": [0.0, float("inf")],
    "norm_group": [0],
    "factor": [0.0, 1.0],
    "drops": [-1],
    "step_epochs": [0],
    "warmup_epochs": [-0.5, 1.0, 74.0],  # 1 with the plateau schedule, which has none
    "clip_norm": [0.0, float("inf")],
    "ema_momentum": [1.0, -0.1],
    "label_smoothing": [1.0, -0.1],
    "epochs": [0],
    "learning_rate": [0.0, -0.1],
    "patience": [0],
    "momentum": [1.0, -0.1],
    "init_deviation": [0.0, -0.01, 0.02],  # without init gaussian
    "weight_decay": [-1e-4],
    "dropout": [1.0, -0.1],
    "regression": ["scr"],  # of a classifier
    "tune": ["fc", "all"],  # without init_from
    "init_preprocessing": ["caffe"],  # without init_from
    "freeze": ["block1"],  # without init_from
    "seed": [-1, 2**40],
    "limit_images": [0],
    "max_bad_fraction": [-0.01, 1.01],
    "replicas": [0],
    "checkpoint_minutes": [0.0],
}
CONFLICTS = [
    ("momentum", {"optimizer": "adamw", "momentum": 0.8}),
    ("head", {"task": "localisation", "head": "pool"}),
    ("sampling", {"task": "multi-label", "sampling": "balanced"}),
    ("class_weights", {"task": "multi-label", "class_weights": "weights.csv"}),
    ("class_weights", {"class_weights": "balanced", "sampling": "balanced"}),
    ("tf32", {"tf32": True, "precision": "mixed_bfloat16"}),
    ("deterministic", {"deterministic": True, "jit": True}),
]
WITHIN_BOUNDS = {
    "width": [0.01, 2.0],
    "crop": [32],
    "jitter": [(224, 224), (256, 512)],
    "scale": [224],
    "micro_batch": [1, "auto"],
    "clip_norm": [1e-3],
    "rand_augment": [(1, 0), (3, 10)],
    "random_erasing": [1.0],
    "mixup": [0.2],
    "cutmix": [1.0],
    "class_weights": ["balanced", "weights.csv"],
    "layer_rate_decay": [0.5, 1.0],
    "head_rate": [10.0, 0.1],
    "ema_momentum": [0.9999],
    "momentum": [0.0],
    "weight_decay": [0.0],
    "dropout": [0.0],
    "seed": [2**40 - 1],
    "limit_images": [1],
    "max_bad_fraction": [0.0, 1.0],
    "replicas": [1],
}


def cases(values):
    return [(name, value) for name, several in values.items() for value in several]


def written(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_papers():
    paper = Recipe()
    assert (paper.batch_size, paper.momentum, paper.weight_decay, paper.dropout) == (256, 0.9, 5e-4, 0.5)
    assert (paper.learning_rate, paper.epochs, paper.crop, paper.scale) == (1e-2, 74, 224, 256)
    assert paper.random_flip
    assert paper.color


@pytest.mark.parametrize(("name", "value"), cases(OUT_OF_BOUNDS))
def test_value_out_of_bounds_is_named(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be "):
        Recipe(**{name: value})


@pytest.mark.parametrize(("name", "value"), cases(WITHIN_BOUNDS))
def test_value_within_bounds_is_taken(name, value):
    assert getattr(Recipe(**{name: value}), name) == value


def test_micro_batches_are_whole_groups_of_batch_norm():
    assert Recipe(batch_norm=True, norm_group=8, micro_batch=24).micro_batch == 24
    assert Recipe(norm_group=8, micro_batch=12).micro_batch == 12  # without batch norm there are none
    with pytest.raises(InputError, match=r"`micro_batch` must be a multiple of `norm_group`, 8, or 'auto'. Received: 12"):
        Recipe(batch_norm=True, norm_group=8, micro_batch=12)


def test_what_does_not_go_together_is_told():
    for name, fields in CONFLICTS:
        with pytest.raises(InputError, match=f"`{name}` must be "):
            Recipe(**fields)


def test_every_bound_has_a_failing_example():
    assert {*OUT_OF_BOUNDS, *(name for name, _ in CONFLICTS)} == set(bounds(Recipe()))


def test_a_deviation_is_for_gaussian_kernels():
    assert Recipe(init="gaussian", init_deviation=0.1).init_deviation == 0.1
    with pytest.raises(InputError, match="`init_deviation` must be positive, and set only with init gaussian"):
        Recipe(init="he", init_deviation=0.1)


def test_mixed_images_stand_in_pairs():
    assert Recipe(mixup=0.2, batch_norm=True, norm_group=5, micro_batch=20).group == 10
    with pytest.raises(
        InputError, match=r"`micro_batch` must be a multiple of 2, since images are mixed in pairs, or 'auto'. Received: 3"
    ):
        Recipe(cutmix=1.0, micro_batch=3)


def test_a_rate_that_is_not_given_is_the_optimizers():
    assert Recipe(optimizer="adamw").learning_rate == 1e-3
    assert resolve({"optimizer": "adamw"}, {"learning_rate": 0.5}).learning_rate == 0.5


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Recipe) if f.metadata["choices"]])
def test_choices_are_named(name):
    choices = {f.name: f.metadata["choices"] for f in dataclasses.fields(Recipe)}[name]
    for choice in choices:
        task = "localisation" if name == "regression" else "classification"
        assert getattr(Recipe(**{"init_from": "run", "task": task, name: choice}), name) == choice
    with pytest.raises(InputError, match=f"`{name}` must be one of {', '.join(choices)}. Received: 'other'"):
        Recipe(**{name: "other"})


@pytest.mark.parametrize(("fields", "scales", "test_scale"), [({}, (256, 256), 256), ({"jitter": [256, 512]}, (256, 512), 384)])
def test_scales(fields, scales, test_scale):
    assert (Recipe(**fields).scales, Recipe(**fields).test_scale) == (scales, test_scale)  # Q = S, or 0.5(Smin + Smax)


def test_jitter_does_not_mind_the_fixed_scale():
    assert Recipe(crop=300, jitter=(320, 400)).scales == (320, 400)  # although scale is 256


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "arch": "D",
            "jitter": [256, 512],
            "init_from": "runs/ä",
            "freeze": "block1,fc1",
            "micro_batch": 8,
            "rand_augment": [2, 7],
            "replicas": 2,
            "limit_images": 10,
        },
        {"micro_batch": "auto", "random_flip": False, "seed": 2**40 - 1, "weight_decay": 1e-300, "dataset": 'folder:/a "b"\\c'},
    ],
)
def test_toml_there_and_back(fields, tmp_path):
    first = Recipe(**fields)
    assert Recipe(**read_recipe(written(tmp_path, to_toml(first)))) == first


def test_table_of_the_papers_figures_is_left_out(tmp_path):
    path = written(tmp_path, 'arch = "E"\n[paper]\ntop1_error = 25.5\n')
    assert read_recipe(path) == {"arch": "E"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat = 0.1", "unknown keys: learning_rat. Known: arch, head, width"),
        ("[training]\nepochs = 3", "unknown keys: training"),
        ("epochs = 3.0", "`epochs` must be int. Received: 3.0"),
        ("epochs = true", "`epochs` must be int. Received: True"),
        ('epochs = "3"', "`epochs` must be int. Received: '3'"),
        ('width = "half"', "`width` must be int or float. Received: 'half'"),
        ("random_flip = 1", "`random_flip` must be bool. Received: 1"),
        ("arch = 16", "`arch` must be str. Received: 16"),
        ("init_from = 1", "`init_from` must be str. Received: 1"),
        ("limit_images = 1.5", "`limit_images` must be int. Received: 1.5"),
        ("micro_batch = 1.5", "`micro_batch` must be str or int. Received: 1.5"),
        ("jitter = 256", r"`jitter` must be \[SMIN, SMAX\], two whole numbers. Received: 256"),
        ("jitter = [256]", r"`jitter` must be \[SMIN, SMAX\].*\[256\]"),
        ("jitter = [256, 512.0]", r"`jitter` must be \[SMIN, SMAX\].*\[256, 512.0\]"),
        ("rand_augment = [2, 7.5]", r"`rand_augment` must be \[N, M\].*\[2, 7.5\]"),
        ("epochs 3", "is not TOML"),
    ],
)
def test_mistake_in_a_file_names_file_and_key(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_whole_number_is_taken_where_a_float_is_wanted(tmp_path):
    fields = read_recipe(written(tmp_path, "width = 1\nlearning_rate = 1"))
    assert fields == {"width": 1.0, "learning_rate": 1.0}
    assert all(type(value) is float for value in fields.values())


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(InputError, match=r"readable TOML file. Received: .*none\.toml \(No such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="readable TOML file"):
        read_recipe(tmp_path)
    (tmp_path / "latin.toml").write_bytes('init_from = "ä"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml is not TOML"):
        read_recipe(tmp_path / "latin.toml")


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path):
    fields = read_recipe(written(tmp_path, 'arch = "B"\nepochs = 3\nrandom_flip = false'))
    resolved = resolve(fields, {"epochs": 5, "dataset": "folder:x"})
    assert (resolved.arch, resolved.epochs, resolved.random_flip, resolved.color) == ("B", 5, False, True)
    assert resolved.batch_size == Recipe().batch_size


def test_a_net_by_its_common_name_is_the_same_experiment():
    assert Recipe(arch="VGG16") == Recipe(arch="D")
    assert Recipe(arch="vgg16_bn") == Recipe(arch="D", batch_norm=True)
    assert resolve({"arch": "A"}, {"arch": "vgg19"}).arch == "E"
    with pytest.raises(InputError, match=r"`arch` must be one of A, .* Received: 'resnet50'"):
        Recipe(arch="resnet50")


def test_what_a_field_was_called_before_is_understood(tmp_path):
    assert read_recipe(written(tmp_path, "flip = false")) == {"random_flip": False}
    parser = cli.Parser()
    cli.add_field_flags(parser, Recipe)
    for flags in (["--no-random-flip"], ["--no-flip"]):
        assert cli.field_values(parser.parse_args(flags), Recipe) == {"random_flip": False}


@pytest.mark.parametrize(
    ("layers", "scales"),
    [
        (({"jitter": (256, 512)}, {"scale": 300}), (300, 300)),
        (({"scale": 300}, {"jitter": (256, 512)}), (256, 512)),
        (({"scale": 300}, {"jitter": (256, 512)}, {"scale": 400}), (400, 400)),
        (({"jitter": (256, 512)}, {"epochs": 3}), (256, 512)),
    ],
)
def test_a_fixed_scale_and_jitter_replace_each_other(layers, scales, tmp_path):
    resolved = resolve(*layers)
    assert resolved.scales == scales
    assert resolved.experiment() == resolve(read_recipe(written(tmp_path, to_toml(resolved)))).experiment()


def test_which_layers_are_tuned_replaces_which_are_frozen():
    """So that a run that was begun with its convolutions kept says that it cannot be resumed with all layers tuned."""
    begun = {"task": "localisation", "init_from": "net.h5", "tune": "fc", "freeze": "convolutions"}
    assert resolve(begun, {"tune": "all"}).freeze is None
    assert resolve({"init_from": "net.h5", "freeze": "block1"}, {"tune": "fc"}).freeze == "convolutions"


def test_a_fixed_scale_and_jitter_at_once_are_refused(tmp_path):
    recipe.check_scales({"jitter": (256, 512)}, "The command line")
    recipe.check_scales(read_recipe(written(tmp_path, to_toml(Recipe(jitter=(256, 512))))), "A run's recipe")
    with pytest.raises(
        InputError, match=r"The command line must set either `scale` or `jitter`, not both.*Received: scale 256 and jitter 256 512"
    ):
        recipe.check_scales({"scale": 256, "jitter": (256, 512)}, "The command line")


def test_a_scale_that_jitter_makes_idle_does_not_count():
    assert Recipe(scale=300, jitter=(256, 512)).experiment() == Recipe(jitter=(256, 512)).experiment()
    assert Recipe(scale=300).experiment() != Recipe().experiment()


def test_names_of_preprocessings_are_those_there_are():
    choices = {f.name: f.metadata["choices"] for f in dataclasses.fields(Recipe)}["init_preprocessing"]
    assert set(choices) == set(preprocessing.BY_NAME)


@pytest.mark.parametrize("layers", [(), ({"dataset": "digits"},), ({"dataset": "folder:x"}, {"dataset": "digits"})])
def test_digits_are_neither_mirrored_nor_coloured(layers):
    assert (resolve(*layers).random_flip, resolve(*layers).color) == (False, False)


@pytest.mark.parametrize("name", ["random_flip", "color"])
def test_digits_are_mirrored_or_coloured_if_asked_for(name):
    assert getattr(resolve({"dataset": "digits", name: True}), name)
    assert getattr(resolve({name: True}, {"dataset": "digits"}), name)


def test_other_data_sets_are_mirrored_and_coloured():
    resolved = resolve({"dataset": "digits"}, {"dataset": "folder:x"})
    assert (resolved.random_flip, resolved.color) == (True, True)


def test_experiment_leaves_out_what_says_how_the_work_is_done():
    machine = {"micro_batch": 4, "strategy": "mirrored", "replicas": 2, "jit": False, "checkpoint_minutes": 1.0}
    machine |= {"max_bad_fraction": 0.2, "communication": "ring", "deterministic": True}
    assert Recipe(**machine).experiment() == Recipe().experiment()
    assert set(Recipe().experiment()) == {f.name for f in dataclasses.fields(Recipe)} - set(machine)
    assert Recipe(seed=1).experiment() != Recipe().experiment()
    assert Recipe(init_from="run", freeze="block1").experiment() != Recipe(init_from="run").experiment()


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_resolves(path):
    resolved = resolve(read_recipe(path))
    assert resolve(read_recipe(path), {"seed": 1}).seed == 1
    for name, value in read_recipe(path).items():
        assert getattr(resolved, name) == value
