"""Two folders compared by the command: the figures, what is left out and told, going on after a kill, and tables by content."""

import json
import re

import keras
import numpy as np
import pandas as pd
import pytest
import reference_distances as reference
from PIL import Image
from safetensors.numpy import save_file
from small_nets import WANTS, net

from keras_vgg import compare, features, preprocessing
from keras_vgg.comparison import distances
from keras_vgg.errors import InputError
from keras_vgg.features import precision_recall
from keras_vgg.models import build_vgg

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

SIZES = [(32, 32), (20, 40), (32, 32), (17, 23), (32, 32), (20, 40)]


def picture(size, seed):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def write(folder, pictures, ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        path = folder / f"{name}.{ending}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with a net D for LPIPS and DISTS, and files of their calibrations."""
    folder = tmp_path_factory.mktemp("weights")
    model = build_vgg("D", input_shape=(None, None, 3), include_top=False)
    model.set_weights([values for layer in reference.trunk_weights() for values in layer])
    model.save(folder / "trunk.keras")
    preprocessing.attach(folder / "trunk.keras", preprocessing.TORCH)
    for name, arrays in zip(("lpips", "dists"), reference.calibration(), strict=True):
        save_file(arrays, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module", autouse=True)
def models_made_once():
    made = {}

    def once(make):
        def make_once(*arguments, **options):
            key = make.__name__, arguments, *sorted(options.items())
            if key not in made:
                made[key] = make(*arguments, **options)
            return made[key]

        return make_once

    with pytest.MonkeyPatch.context() as patch:
        for name in ("lpips_model", "dists_model"):
            patch.setattr(features, name, once(getattr(features.distances, name)), raising=False)
        yield


@pytest.fixture
def folders(tmp_path):
    """Six pairs, of which two lie in a folder within, and an image without a partner in either folder."""
    names = ["a", "b", "within/a", "within/c", "e", "f"]
    pictures = dict(zip(names, map(picture, SIZES, range(6)), strict=True))
    others = dict(zip(names, map(picture, SIZES, range(10, 16)), strict=True))
    real = write(tmp_path / "real", pictures | {"z": picture((32, 32), 99)})
    generated = write(tmp_path / "generated", others | {"y": picture((32, 32), 98)}, "bmp")
    return real, generated, pictures, others


def compared(weights, real, generated, out, *more, metric="lpips"):
    calibration = ["--calibration", str(weights / f"{metric}.safetensors")]
    given = ["--metric", metric, "--weights", str(weights / "trunk.keras"), *calibration, "--out", str(out), *more]
    compare.main([f"folder:{real}", f"folder:{generated}", *given])


def pairs_in(out, metric="lpips"):
    (path,) = out.glob(f"{metric}-*.csv")
    return pd.read_csv(path).set_index("pair")


@pytest.mark.parametrize("metric", ["lpips", "dists"])
def test_every_pair_has_the_distance_that_the_model_gives(tmp_path, weights, folders, capsys, metric):
    real, generated, pictures, others = folders
    compared(weights, real, generated, tmp_path / "out", "--batch", "1", metric=metric)
    make = features.lpips_model if metric == "lpips" else features.dists_model
    options = {"version": "0.1"} if metric == "lpips" else {}
    model = make(str(weights / "trunk.keras"), calibration=str(weights / f"{metric}.safetensors"), precision="float32", **options)
    expected = {name: float(model([pictures[name][None], others[name][None]])[0]) for name in pictures}
    found = pairs_in(tmp_path / "out", metric)
    assert set(found.index) == set(expected)
    np.testing.assert_allclose([found[metric][name] for name in expected], [*expected.values()], rtol=1e-5)
    assert found[metric].is_monotonic_decreasing
    (line,) = json.loads((tmp_path / "out" / "table.json").read_text())
    assert line["mean"] == pytest.approx(np.mean([*expected.values()]), rel=1e-5)
    assert line["deviation"] == pytest.approx(np.std([*expected.values()], ddof=1), rel=1e-4)
    assert line["pairs"] == 6
    assert set(found["nets sha256"]) == {line["nets sha256"]}
    told = capsys.readouterr().out
    assert "6 pairs" in told
    assert re.search(r"1 image of folder:\S*real has no partner and is skipped, e\.g\. z", told)
    assert re.search(rf"{metric}\s.*{line['mean']:.4f}", told)


def test_killed_and_started_again_it_computes_what_is_left_to_the_same_bits(tmp_path, weights, folders, monkeypatch):
    real, generated, *_ = folders
    monkeypatch.setattr(distances, "_SIDE", 32)  # a batch of one pair
    compared(weights, real, generated, tmp_path / "whole", "--batch", "1")
    original, seen = distances._PairNetwork.see, []

    def see(self, first, second):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(first))
        return original(self, first, second)

    monkeypatch.setattr(distances._PairNetwork, "see", see)
    with pytest.raises(KeyboardInterrupt):
        compared(weights, real, generated, tmp_path / "out", "--batch", "1")
    monkeypatch.setattr(distances._PairNetwork, "see", lambda *given: seen.append(len(given[1])) or original(*given))
    compared(weights, real, generated, tmp_path / "out", "--batch", "1")
    assert sum(seen) == 6
    whole, resumed = (pairs_in(tmp_path / name)["lpips"].sort_index() for name in ("whole", "out"))
    pd.testing.assert_series_equal(resumed, whole, check_exact=True)
    seen.clear()
    compared(weights, real, generated, tmp_path / "out", "--batch", "1")
    assert not seen


def test_pairs_that_cannot_be_compared_are_listed_and_the_others_counted(tmp_path, weights, folders, capsys):
    real, generated, *_ = folders
    write(generated, {"a": picture((32, 40), 5)}, "bmp")
    write(real, {"e": picture((8, 32), 5)})
    write(generated, {"e": picture((8, 32), 6)}, "bmp")
    (generated / "f.bmp").write_bytes(b"no image")
    whole = (real / "within" / "a.png").read_bytes()
    (real / "within" / "a.png").write_bytes(whole[: len(whole) // 2])  # its header says a size
    compared(weights, real, generated, tmp_path / "out")
    found = pairs_in(tmp_path / "out")["lpips"]
    assert set(found.index[found.isna()]) == {"a", "e", "f", "within/a"}
    listed = pd.read_csv(tmp_path / "out" / "broken_images.csv").set_index("image")["reason"]
    reasons = {name: next(reason for path, reason in listed.items() if path.endswith(name)) for name in ("a.bmp", "e.png")}
    assert reasons["a.bmp"] == "32x40 pixels, but its partner has 32x32"
    assert reasons["e.png"] == "8x32 pixels, but the net requires at least 16x16"
    assert sum(path.endswith(("f.bmp", "real/within/a.png")) for path in listed.index) == 2
    assert len(listed) == 4
    (line,) = json.loads((tmp_path / "out" / "table.json").read_text())
    assert (line["pairs"], line["left out"]) == (2, 4)
    assert line["mean"] == pytest.approx(found.mean(), rel=1e-6)
    assert "4 images could not be used" in capsys.readouterr().out


def test_a_table_tells_comparisons_apart_by_content(tmp_path, weights, folders):
    real, generated, *_ = folders
    out = tmp_path / "out"
    compared(weights, real, generated, out)
    compared(weights, real, generated, out)
    assert len(json.loads((out / "table.json").read_text())) == 1
    compared(weights, real, generated, out, metric="dists")
    write(generated, {"a": picture((32, 32), 77)}, "bmp")
    compared(weights, real, generated, out)
    lines = json.loads((out / "table.json").read_text())
    assert [line["metric"] for line in lines] == ["lpips", "dists", "lpips"]
    assert lines[0]["nets sha256"] == lines[2]["nets sha256"] != lines[1]["nets sha256"]
    assert lines[0]["images sha256"] == lines[1]["images sha256"] != lines[2]["images sha256"]
    assert len([*out.glob("lpips-*.csv")]) == 2
    assert len(pd.read_csv(out / "table.csv")) == 3


def test_two_devices_give_what_one_gives(tmp_path, weights, folders):
    real, generated, *_ = folders
    compared(weights, real, generated, tmp_path / "one", "--batch", "1")
    compared(weights, real, generated, tmp_path / "two", "--batch", "1", "--replicas", "2")
    one, two = (pairs_in(tmp_path / name).sort_index() for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


# --- Sets -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "d.keras"
    model = net("D")
    model.save(path)
    preprocessing.attach(path, WANTS)
    return path, model


def test_precision_and_recall_are_those_of_the_features(tmp_path, whole_net, capsys):
    path, model = whole_net
    pictures = {f"{number:02}": picture((32, 32), number) for number in range(40)}
    others = {f"{number:02}": (picture((32, 32), 100 + number) * 0.8).astype(np.uint8) for number in range(30)}
    real, generated = write(tmp_path / "real", pictures), write(tmp_path / "generated", others)
    (generated / "zz.png").write_bytes(b"no image")
    given = [str(real), str(generated), "--metric", "precision-recall", "--weights", str(path), "--out", str(tmp_path / "out")]
    compare.main([*given, "--k", "2"])
    up_to = keras.Model(model.input, model.get_layer("fc2").output)
    wants = preprocessing.for_model(model)
    features = [np.array(up_to(wants(np.stack([*each.values()])))) for each in (pictures, others)]
    expected = precision_recall(*features, k=2)
    (line,) = json.loads((tmp_path / "out" / "table.json").read_text())
    assert (line["precision"], line["recall"]) == expected
    assert 0 < expected.precision < 1 or 0 < expected.recall < 1
    assert (line["k"], line["real"], line["generated"], line["left out"]) == (2, 40, 30, 1)
    assert re.search(r"precision-recall .* 40 +30 +1", capsys.readouterr().out)
    compare.main(given)  # another k is another row, and no image is seen again
    assert [each["k"] for each in json.loads((tmp_path / "out" / "table.json").read_text())] == [2, 3]


# --- What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metric", "dists", "--version", "0.0"], "`--version` requires --metric lpips. Received: --metric dists"),
        (["--metric", "lpips", "--k", "3"], "`--k` requires --metric precision-recall"),
        (["--metric", "precision-recall", "--calibration", "x"], "`--calibration` requires --metric lpips or dists"),
        (["--batch", "0"], "`--batch` must be at least 1"),
    ],
)
def test_flags_of_another_metric_are_refused(tmp_path, more, message):
    with pytest.raises(InputError, match=re.escape(message)):
        compare.main([str(tmp_path), str(tmp_path), *more])


def test_folders_that_cannot_be_paired_are_refused(tmp_path, weights):
    one, other = write(tmp_path / "one", {"a": picture((32, 32), 0)}), write(tmp_path / "other", {"b": picture((32, 32), 0)})
    with pytest.raises(InputError, match=r"same names in both folders. Received: none, e\.g\. a in \S+one, b in \S+other"):
        compared(weights, one, other, tmp_path / "out")
    write(one, {"a": picture((32, 32), 1)}, "bmp")
    with pytest.raises(InputError, match=r"unique name, ignoring the extension. Received: several named a\."):
        compared(weights, one, other, tmp_path / "out")
    with pytest.raises(InputError, match=r"Expected a folder of images. Received: .*, which does not exist"):
        compared(weights, tmp_path / "none", other, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"Expected a folder of images. Received: .*, which has none"):
        compared(weights, tmp_path / "empty", other, tmp_path / "out")
    with pytest.raises(InputError, match="The only pair of images could not be used"):
        compared(weights, one.with_name("other"), write(tmp_path / "small", {"b": picture((4, 4), 0)}), tmp_path / "out")
