"""The recipes that come with the package go by name from wherever a command is called."""

import importlib.metadata
import pathlib

import pytest

from keras_vgg.errors import InputError
from keras_vgg.recipe import read_recipe
from keras_vgg.support import own_recipes

ROOT = pathlib.Path(__file__).parents[1] / "recipes"


@pytest.mark.parametrize("name", ["quickstart", "quickstart.toml", "recipes/quickstart.toml", "recipes/quickstart"])
def test_ours_are_found_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own_recipes.find(pathlib.Path(name)) == ROOT / "quickstart.toml"
    assert read_recipe(name) == read_recipe(ROOT / "quickstart.toml")


def test_what_lies_here_goes_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("epochs = 3")
    assert read_recipe("quickstart") == {"epochs": 3}


@pytest.mark.parametrize("name", ["nothing", "elsewhere/quickstart.toml", "/quickstart", "recipes/inner/quickstart"])
def test_others_stay_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own_recipes.find(pathlib.Path(name)) == pathlib.Path(name)
    with pytest.raises(InputError, match=rf"must be a readable TOML file\. Received: {name}"):
        read_recipe(name)


def test_an_installed_package_has_them_where_its_wheel_put_them(tmp_path, monkeypatch):
    recipe = tmp_path / "share" / "keras_vgg" / "recipes" / "quickstart.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("epochs = 4")

    class Installed(pathlib.PurePosixPath):
        def locate(self):
            return tmp_path / self

    files = [Installed("share/keras_vgg/recipes/quickstart.toml"), Installed("keras_vgg/fit.py")]
    monkeypatch.setattr(own_recipes, "__file__", str(tmp_path / "keras_vgg" / "support" / "own_recipes.py"))
    monkeypatch.setattr(importlib.metadata, "files", lambda name: files)
    monkeypatch.chdir(tmp_path)
    assert read_recipe("quickstart") == {"epochs": 4}
