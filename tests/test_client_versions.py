"""The client while the server takes up another version of the model, and where it takes its time over many images."""

import json

import local_server
import numpy as np
import pytest
import small_served_model
from PIL import Image
from small_served_model import FEATURES, Small, mean_color

from keras_vgg import client
from keras_vgg.local_serving.servable import Servable

PROTOCOLS = ("grpc", "rest")
OLD, EQUAL, WIDER = 2, 3, 4
GONE = "The server no longer serves version 2 (available: {}). All results are from version 2; send images without a result again."


@pytest.fixture(scope="module")
def base_paths(tmp_path_factory):
    """Folders of version 2 and a later one: `{version: folder}`, each of which begins with version 2 alone."""
    folder = tmp_path_factory.mktemp("models") / "vgg"
    small_served_model.save_version(folder, OLD, Small())
    later = folder.parent / "later"
    small_served_model.save_version(later, EQUAL, Small(sign=-1))
    small_served_model.save_version(later, WIDER, Small(width=FEATURES + 3))
    return folder, later


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(3)
    for number, color in enumerate(rng.integers(0, 256, (16, 3))):
        Image.new("RGB", (4, 4), tuple(color.tolist())).save(folder / f"{number:02d}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def taking_up(base_paths, tmp_path, monkeypatch):
    """Serves version 2, and takes up another one before the fourth request is answered."""
    monkeypatch.setenv("no_proxy", "*")
    old, later = base_paths

    def start(version, *, keep):
        (tmp_path / "2").symlink_to(old / "2")
        serving = local_server.serving(tmp_path, labels=("stable",))
        addresses = serving.__enter__()
        opened.append(serving)
        (tmp_path / str(version)).symlink_to(later / str(version))
        predict, answered = Servable.predict, []

        def predicting(servable, *args):
            outputs = predict(servable, *args)
            answered.append(servable.version)
            if len(answered) == 3:
                addresses.take_up(version, keep=keep)
            return outputs

        monkeypatch.setattr(Servable, "predict", predicting)
        addresses.answered = answered
        return addresses

    opened = []
    yield start
    for serving in opened:
        serving.__exit__(None, None, None)


FLAGS = ("--batch", "2", "--concurrency", "1")


@pytest.mark.parametrize("newer", [EQUAL, WIDER])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_features_are_of_one_version_when_another_replaces_it(protocol, newer, taking_up, paths, tmp_path, capsys):
    server, file = taking_up(newer, keep=False), tmp_path / "features.npz"
    assert client.main([*paths, "--url", getattr(server, protocol), "--features", str(file), *FLAGS]) == 2
    assert_of_the_old_version(file, paths[:6])
    assert server.answered == [OLD] * 3
    told = capsys.readouterr().err
    assert told.count(GONE.format(newer)) == 1
    assert f"{paths[6]}: the server no longer serves version 2\n" in told
    assert "16 images, 10 failed, 0 retries" in told


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_are_of_one_version_when_another_replaces_it(protocol, taking_up, paths, capsys):
    server = taking_up(EQUAL, keep=False)
    assert client.main([*paths, "--url", getattr(server, protocol), "--json", "--label", "stable", *FLAGS]) == 2
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert {(line["model"], line["version"]) for line in lines} == {("vgg", OLD)}
    assert ["top" in line for line in lines] == [True] * 6 + [False] * 10
    assert server.answered == [OLD] * 3
    assert captured.err.count(GONE.format(EQUAL)) == 1


@pytest.mark.parametrize("flags", [[], ["--label", "stable"]])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_version_is_kept_while_both_are_there(protocol, flags, taking_up, paths, tmp_path, capsys):
    server, file = taking_up(WIDER, keep=True), tmp_path / "features.npz"
    assert client.main([*paths, "--url", getattr(server, protocol), "--features", str(file), *flags, *FLAGS]) is None
    assert server.answered == [OLD] * 8
    assert_of_the_old_version(file, paths)
    assert "no longer" not in capsys.readouterr().err


def assert_of_the_old_version(file, paths):
    with np.load(file) as written:
        assert (str(written["model"]), int(written["version"])) == ("vgg", OLD)
        assert written["paths"].tolist() == paths
        assert written["features"].shape == (len(paths), FEATURES)
        for path, row in zip(paths, written["features"], strict=True):
            np.testing.assert_allclose(row, [*mean_color(open(path, "rb").read()), 0], atol=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_that_take_too_long_are_halved(protocol, base_paths, paths, monkeypatch, capsys):
    """Eight images take 1.6 s, more than the deadline; four take 0.8 s."""
    monkeypatch.setenv("no_proxy", "*")
    arguments = [*paths, "--json", "--batch", "8", "--timeout", "1", "--retry-for", "5"]
    with local_server.serving(base_paths[0], delay_per_image=0.2) as slow:
        assert client.main([*arguments, "--url", getattr(slow, protocol)]) is None
    captured = capsys.readouterr()
    assert [json.loads(line)["image"] for line in captured.out.splitlines()] == paths
    assert "16 images, 0 failed, 0 retries" in captured.err
