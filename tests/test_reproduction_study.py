"""Studies as data: the paper's, its miniature, and what is wrong with others; what they cost."""

import pathlib

import pytest

from keras_vgg import configs, reproduce
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import Row
from keras_vgg.reproduction import plan
from keras_vgg.reproduction.claims import Place
from keras_vgg.reproduction.costs import Data, costs_of
from keras_vgg.reproduction.study_file import read_study
from keras_vgg.reproduction.work_folder import WorkFolder

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"
PAPER, MINIATURE = RECIPES / "paper.toml", RECIPES / "paper-miniature.toml"


def test_the_papers_nets_begin_from_one_another():
    study = read_study(PAPER)
    starts = {name: training.starts_from for name, training in study.trainings.items()}
    assert [name for name, start in starts.items() if start is None] == ["a-256", "a-lrn-256"]
    assert {starts[f"{net}-256"] for net in "bcde"} == {"a-256"}
    assert {net: (starts[f"{net}-384"], starts[f"{net}-jitter"]) for net in "cde"} == {
        net: (f"{net}-256", f"{net}-384") for net in "cde"
    }
    assert [len(rows) for rows in study.tables.values()] == [12, 10, 6, 4]


def test_the_miniature_is_the_paper_at_a_quarter_of_every_length():
    paper, small = read_study(PAPER), read_study(MINIATURE)
    assert list(small.trainings) == list(paper.trainings)
    for name, training in paper.trainings.items():
        ours, theirs = small.trainings[name].recipe, training.recipe
        assert (4 * ours.crop, tuple(4 * s for s in ours.scales)) == (theirs.crop, theirs.scales)
        assert (ours.arch, small.trainings[name].starts_from) == (theirs.arch, training.starts_from)
    for place, each in paper.places.items():
        assert [tuple(4 * q for q in scales) for scales in small.places[place].row.scales] == [*each.row.scales]
    assert small.claims == paper.claims
    assert small.seeds >= 3


def test_what_the_paper_says_of_its_rows_is_what_its_figures_say():
    """A claim of a lower error stands where the paper has a lower one; of S = 384 beside 256 it has figures alone."""
    study = read_study(PAPER)
    compared = set()
    for place, claim in study.claims.items():
        ours, theirs = (study.places[each].row.paper["top1_error"] for each in (place, claim.against))
        assert {"better": ours < theirs, "no better": ours > theirs - 1, None: abs(ours - theirs) < 0.5}[claim.says], place
        compared.add(place)
    assert set(study.places) - compared == {
        Place("table3", ("A/256",), "dense"),
        Place("table5", ("D/jitter",), "dense"),
        Place("table5", ("E/jitter",), "dense"),
    }


def test_a_net_is_tested_once_with_whatever_tables_ask_of_it():
    rows = read_study(PAPER).tests_of("d-jitter")
    assert [(row.protocol, row.scales) for row in rows] == [
        ("dense", ((384,),)),
        *((protocol, ((256, 384, 512),)) for protocol in ("dense", "multi-crop", "both")),
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("lengths = 0.3", "whole numbers of pixels"),
        ("seeds = 0", "`seeds` must be at least 1"),
        ("colour = 3", "unknown keys: colour"),
        ("seeds = true", "`seeds` must be int"),
        ('trainings = ["d-256"]', "starts from a-256, which must come before it"),
        ('trainings = ["a-256"]', "which must be among `trainings`"),
        ('tables = ["table4"]', "which is not one of its rows"),
        ("[fit]\nwidht = 0.5", "cannot override widht"),
        ("[fit]\nseed = 5", "cannot override seed"),
        ('[initialisation]\narchs = ["f-256"]', "names f-256"),
        ('[initialisation]\nstarts = "he"', "must be tables by name"),
        ('[trainings_of]\n"d-256" = 3', "must be a table of tables"),
        ("[sizes]\nimages = 3", "`sizes` has unknown keys: images"),
        ("held_out = 0.2", "`split` must be test if `held_out` creates a test set"),
        ('split = "test"\nheld_out = 1.5', r"must be a fraction of the training images, in \[0, 1\)"),
        ("margin = -1.0", "`margin` must be a fraction"),
    ],
)
def test_a_mistake_in_a_study_is_told(tmp_path, change, line):
    for recipe in RECIPES.glob("*.toml"):
        (tmp_path / recipe.name).symlink_to(recipe)
    (tmp_path / "mine.toml").write_text(f'base = "paper.toml"\n{change}\n')
    with pytest.raises(InputError, match=line):
        read_study(tmp_path / "mine.toml")


TABLE = """
[models]
A = "runs/a-256"

[[rows]]
models = ["A"]
protocol = "dense"
"""


def own_study(folder, table=TABLE):
    for recipe in RECIPES.glob("*.toml"):
        (folder / "given").mkdir(exist_ok=True)
        (folder / "given" / recipe.name).symlink_to(recipe)
    (folder / "own").mkdir()
    (folder / "own" / "mine.toml").write_text(table)
    study = folder / "own" / "study.toml"
    study.write_text('base = "../given/paper.toml"\ntables = ["mine"]\n')
    return study


def test_trainings_of_a_base_lie_beside_it_and_own_tables_beside_the_study(tmp_path):
    study = read_study(own_study(tmp_path))
    assert len(study.trainings) == 12
    (row,) = study.places.values()
    assert row.row.scales == ((256,),)  # what the table leaves out is the net's own scale
    assert study.tests_of("a-256") == (Row(("a-256",), "dense", ((256,),)),)


def test_two_rows_that_nothing_tells_apart_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"A, dense \(mine\) occurs twice"):
        read_study(own_study(tmp_path, TABLE + '\n[[rows]]\nmodels = ["A"]\nprotocol = "dense"\nscales = [384]\n'))


def test_a_row_is_not_compared_with_itself(tmp_path):
    with pytest.raises(InputError, match="`against` must name another row"):
        read_study(own_study(tmp_path, TABLE + 'claim = { says = "alike" }\n'))


def test_a_study_is_not_its_own_base(tmp_path):
    (tmp_path / "study.toml").write_text('base = "study.toml"\n')
    with pytest.raises(InputError, match="Received: itself"):
        read_study(tmp_path / "study.toml")


def test_training_costs_what_the_paper_trained():
    """370K iterations of 256 images are 74 epochs; a forward pass is the net's multiply-adds, a training image three of them."""
    study = read_study(PAPER)
    data = plan.data_of(study, WorkFolder.at("nowhere"))
    costs = {(cost.kind, cost.name): cost for cost in costs_of(study, data)}
    trained = costs["train", "d-256"]
    assert trained.images == 74 * (1281167 + 50000)
    macs = sum(layer.multiply_adds for layer in configs.layer_facts("D"))
    assert trained.multiply_adds == macs * 74 * (3 * 1281167 + 50000)
    assert trained.disk == 4 * 4 * 138357544


def test_testing_costs_its_views():
    """At Q equal to the crop a square image is one dense view; multi-crop is 25; mirror images double all."""
    study = read_study(PAPER)
    costs = {(cost.kind, cost.name): cost for cost in costs_of(study, Data(1000, 100, 10, 1000))}
    macs = sum(layer.multiply_adds for layer in configs.layer_facts("A"))
    convolutions = sum(layer.multiply_adds for layer in configs.layer_facts("A") if layer.receptive_field)
    dense = convolutions * (256 / 224) ** 2 + 4 * (macs - convolutions)  # 2x2 places
    assert costs["test", "a-256"].multiply_adds == pytest.approx(2 * 10 * dense)
    several = costs["test", "d-jitter"].multiply_adds - costs["test", "d-384"].multiply_adds
    of_d = sum(layer.multiply_adds for layer in configs.layer_facts("D"))
    assert several > 2 * 10 * 75 * of_d


def test_the_plan_of_imagenet_needs_no_data_and_no_machine(capsys, tmp_path):
    reproduce.main(["plan", str(PAPER), "--work", str(tmp_path / "nothing")])
    told = capsys.readouterr().out
    assert "12 nets, 0 starts, 4 tables; seeds: 1; 24 trainings and tests" in told
    assert "1,281,167 for training" in told
    assert sum(line.split()[0] == "train" for line in told.splitlines() if line.strip()) == 12
    # Net D on one P100, by TensorFlow's benchmarks at 154 images/s: a week for 74 epochs of 1.28 million images.
    study = read_study(PAPER)
    made = plan.make_plan(study, WorkFolder.at(tmp_path))
    p100 = next(each for each in made.speeds if each.machine.startswith("1 x NVIDIA Tesla P100"))
    days = p100.seconds(next(cost for cost in made.costs if cost.name == "d-256")) / 86400
    assert days == pytest.approx(74 * (1281167 + 50000 / 3) / 154 / 86400)
    assert made.images_per_second(p100) == pytest.approx(154 * macs_of("D") / macs_of("A"))


def test_other_data_have_other_sizes(capsys):
    assert read_study(MINIATURE).changed(seeds=5).sizes["train"] == 7000
    study = read_study(MINIATURE).changed(dataset="folder:somewhere")
    with pytest.raises(InputError, match="must be known to plan it"):
        plan.data_of(study, WorkFolder.at("nowhere"))


def macs_of(arch):
    return sum(layer.multiply_adds for layer in configs.layer_facts(arch))
