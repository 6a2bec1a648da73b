"""The recipes that come with the package, found by name from any working directory."""

import pathlib

_FOLDER = "recipes"


def find(path: pathlib.Path) -> pathlib.Path:
    """Returns the file of a recipe: `path` if it exists, else the package's own for `quickstart` or `recipes/quickstart.toml`.

    Any other path is returned unchanged, for the caller to report.
    """
    if path.exists() or path.parent not in (pathlib.Path(), pathlib.Path(_FOLDER)):
        return path
    name = path.name if path.suffix == ".toml" else f"{path.name}.toml"
    return next((own for own in _own() if own.name == name), path)


def _own() -> list[pathlib.Path]:
    """Returns the recipes beside the package in a checkout, or where the wheel installed them."""
    checkout = pathlib.Path(__file__).resolve().parents[2] / _FOLDER
    if checkout.is_dir():
        return [*checkout.glob("*.toml")]
    import importlib.metadata  # slow, and not needed in a checkout

    installed = importlib.metadata.files("keras_vgg") or []
    return [
        pathlib.Path(str(file.locate())).resolve() for file in installed if file.parent.name == _FOLDER and file.suffix == ".toml"
    ]
