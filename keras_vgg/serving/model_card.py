"""The model card of an exported net: its data, recipe, preprocessing, protocol, errors and license."""

import dataclasses
import datetime
import json
import os
import pathlib

import keras
import tensorflow as tf

import keras_vgg
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net, short
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.network import Network
from keras_vgg.localisation.finder import Finder
from keras_vgg.mixed_precision import in_precision, precision_of
from keras_vgg.preprocessing import Preprocessing, origin_of, statement
from keras_vgg.recipe import MADE_AGAIN, read_run_recipe
from keras_vgg.serving.signatures import Protocol
from keras_vgg.support import files, paths
from keras_vgg.weights import download

NOT_STATED = "not stated"
_EVALUATION_TABLE = "table.json"
_NETS = "nets sha256"


def model_card(
    network: Network,
    protocol: Protocol,
    preprocessing: Preprocessing,
    labels: tuple[str, ...],
    *,
    source: NetFile | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    licence: str | None = None,
    finder: Finder | None = None,
) -> dict:
    """Returns the card, ready for JSON. Unknown facts are `None` or `"not stated"`; nothing is guessed.

    Args:
        network: the net.
        protocol: the test protocol of its signatures.
        preprocessing: the preprocessing of its weights.
        labels: class names.
        source: the run folder or file that it was loaded from, if any.
        evaluation: folder of `keras_vgg.evaluate` that tested this net; the rows of exactly these weights are copied to the card.
        licence: license of the weights; by default that of the public weights, if these are some.
        finder: the localizer that is exported with it, if any.

    Raises:
        InputError: if `evaluation` has no table, or no row of exactly these weights alone.
    """
    digest = digest_of_net(network.model)
    public = download.recognise(source.file) if source else None
    folder = source.file.parent if source else None
    run = folder if folder and (folder / "recipe.toml").exists() else None
    recipe = dataclasses.asdict(read_run_recipe(run / "recipe.toml")) if run else None
    card = {
        "net": {
            "name": network.model.name,
            "configuration": source and source.arch,
            "parameters": network.model.count_params(),
            "input": f"{network.crop}x{network.crop} in training",
            "precision": _computed_in(network.model),
            "sha256": digest,
            "origin": public and public.source,
        },
        "classes": list(labels),
        "data": recipe and recipe["dataset"],
        "recipe": recipe,
        "protocol": dataclasses.asdict(protocol) | {"kind": protocol.kind, "average": network.average, "pooling": network.pooling},
        "preprocessing": dataclasses.asdict(preprocessing)
        | {"text": str(preprocessing), "statement": statement(preprocessing, origin_of(network.model))},
        "localiser": finder and _localiser(finder),
        "errors": {
            "in_training": run and recipe and _summary(run, _as_trained(network, recipe["precision"])),
            "published": public and {"top1": public.top1, "top5": public.top5, "protocol": public.protocol, "unit": "% correct"},
            "evaluation": evaluation and rows_of(evaluation, digest),
        },
        "licence": licence or (public.licence if public else NOT_STATED),
        "made_with": {
            "keras_vgg": keras_vgg.__version__,
            "code sha256": digest_of_code(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return json.loads(json.dumps(card))  # turns tuples into lists, as a reader gets them


def _computed_in(model: keras.Model) -> str:
    """Returns the dtype that a net's convolutions are computed in."""
    return keras.DTypePolicy(precision_of(model)).compute_dtype


def _localiser(finder: Finder) -> dict:
    model = finder.localiser.model
    net = {
        "name": model.name,
        "configuration": finder.source.arch,
        "parameters": model.count_params(),
        "input": f"{finder.localiser.crop}x{finder.localiser.crop} in training",
        "precision": _computed_in(model),
        "sha256": finder.digest,
    }
    return finder.settings | net | {"preprocessing": finder.source.preprocessing_text}


def _as_trained(network: Network, precision: str) -> str:
    """Returns the digest of a net in the precision it was trained in, to which its training figures refer."""
    return digest_of_net(in_precision(network.model, precision))


def read_table(folder: str | os.PathLike[str]) -> list[dict]:
    """Returns the rows that `keras_vgg.evaluate` wrote to a folder.

    Raises:
        InputError: if there are none.
    """
    path = paths.path_of(folder) / _EVALUATION_TABLE
    try:
        rows = files.read_json(path, list)
        if not all("net" in row for row in rows):
            raise ValueError("it contains no rows of nets")
        return rows
    except ValueError as error:
        raise InputError(
            f"`evaluation` must be a folder of keras_vgg.evaluate with its {path.name}. Received: {folder} ({error})."
        ) from error


def rows_of(folder: str | os.PathLike[str], digest: str) -> list[dict]:
    """Returns the rows of one net among those that `keras_vgg.evaluate` wrote to a folder.

    Args:
        folder: the folder.
        digest: the net's, of `identity.digest_of_net`; names of nets do not count.

    Raises:
        InputError: if there are none.
    """
    rows = read_table(folder)
    if found := [row for row in rows if row.get(_NETS) == digest]:
        return found
    known = {f"{row['net']} ({short(row[_NETS])})" if row.get(_NETS) else f"{row['net']} (of an earlier version)" for row in rows}
    raise InputError(
        f"`evaluation` must be a folder with errors of exactly these weights ({short(digest)}), alone. "
        f"Received: {folder}, with those of {', '.join(sorted(known))}; evaluate these weights in this precision, or "
        "omit it."
    )


def _summary(run: pathlib.Path, digest: str) -> dict | None:
    """Returns the figures of a run's best net; `None` if the run is not finished or the net is another one.

    Runs of earlier versions do not record the weights of their figures; these are assumed to match.
    """
    path = run / "summary.json"
    if not path.exists():
        return None  # not finished
    try:
        summary = files.read_json(path, dict)
    except ValueError as error:
        raise InputError(f"Expected the summary of a run as JSON. Received: {path} ({error}). {MADE_AGAIN}") from error
    if (known := summary.get("best_sha256")) and known != digest:
        return None
    figures = ("best_epoch", "best_val_top1_error", "best_val_top5_error", "best_sha256")
    return {name: summary[name] for name in figures if name in summary}
