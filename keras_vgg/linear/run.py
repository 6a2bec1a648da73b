"""A transfer evaluation from rows: data opened, descriptors computed, SVMs trained, tables written."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from keras_vgg.data.sets import TEST
from keras_vgg.descriptors import classifying_net
from keras_vgg.descriptors.extraction import extract, facts_of, load_networks
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_images, digests_of, short
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.passes import BATCH
from keras_vgg.linear import protocols, report, squared_hinge, svm
from keras_vgg.linear.benchmarks import Benchmark, Row
from keras_vgg.linear.classify import Outcome
from keras_vgg.linear.data import Data, open_data, open_files, with_descriptors
from keras_vgg.support import extras, files
from keras_vgg.support.counts import agree, counted


@dataclasses.dataclass(frozen=True)
class TransferSettings:
    """Settings of a transfer evaluation.

    Attributes:
        costs: candidate values of C.
        seed: random seed of splits and held-out images.
        batch, devices: see `extraction.extract`.
        save: `.keras` file for the classifier of the only row, as a whole net.
    """

    costs: tuple[float, ...] = svm.COSTS
    seed: int = 0
    batch: int = BATCH
    devices: tuple[str | None, ...] = (None,)
    save: pathlib.Path | None = None


def evaluate(
    benchmarks: Mapping[str, Benchmark],
    sources: Mapping[str, NetFile],
    rows: Sequence[Row],
    folder: pathlib.Path,
    settings: TransferSettings = TransferSettings(),
    *,
    say: Callable[[str], None] = print,
    stream=None,
) -> list[dict]:
    """Tests nets and returns the table's lines.

    Features that `folder` contains already are not computed again, for other rows or in other processes.

    Args:
        benchmarks: by name.
        sources: nets by name, from `open_feature_source`.
        rows: which net on which benchmark.
        folder: for `table.csv`, `table.json`, `classes.csv`, `left_out.csv`, and `features/`.
        settings: further settings.
        say: called with lines to print.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: for user errors: an unsuitable net or dataset, before any net runs.
    """
    extras.require("transfer")
    if settings.save:
        _check_save(benchmarks, sources, rows, settings.save)
    for name, descriptor in dict.fromkeys((name, benchmarks[row.data].descriptor) for row in rows for name in row.models):
        load_networks(sources[name], descriptor)  # not kept: only to find errors before hours of reading data
    opened = {}
    for name in dict.fromkeys(row.data for row in rows):
        data = opened[name] = open_data(benchmarks[name], stream=stream)
        told = f"data: {data.description}, {counted(len(data.parts), 'image')}, {counted(len(data.classes), 'class')}"
        say("\n".join([told, *data.notes]))
        protocols.check(data, benchmarks[name], settings.costs, settings.seed, keep=settings.save is not None)

    def describe(row: Row) -> _Described:
        data, nets, descriptor = opened[row.data], [sources[name] for name in row.models], benchmarks[row.data].descriptor
        say(f"net {' & '.join(row.models)} on {row.data}")
        assert data.split is not None  # of `open_data`
        # What `extract` would print about unusable images is printed below, for all data in one list.
        options = {"batch": settings.batch, "devices": settings.devices, "say": lambda line: None, "stream": stream}
        found = extract(data.split, nets, descriptor, folder / "features", known=data.survey, **options)
        images = digest_of_images(found.fingerprints, data.labels)
        told = _told(" & ".join(row.models), row.data, facts_of(nets, found.digests, descriptor), images)

        def save(outcome: Outcome) -> None:
            assert settings.save is not None
            _save(outcome, settings.save, nets[0], found.digests[0], benchmarks[row.data], data, say)

        return _Described(data, found.values, found.names, found.problems, told, found.discard, save)

    return _evaluate(benchmarks, rows, describe, folder, settings, say)


def evaluate_files(
    paths: Sequence[str],
    benchmark: Benchmark,
    folder: pathlib.Path,
    settings: TransferSettings = TransferSettings(),
    *,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Does the same as `evaluate` for one benchmark with descriptors that `keras_vgg.extract` wrote."""
    extras.require("transfer")
    data, values, names, fingerprints, facts = open_files(paths, benchmark)
    if fingerprints is None:
        say("descriptors of an earlier version do not record image fingerprints; images are compared by name")
    say(f"data: {data.description}, {counted(len(values), 'image')}, {counted(len(data.classes), 'class')}")
    net = " & ".join(net["net"] for net in facts.get("nets", []))
    images = "" if fingerprints is None else digest_of_images(fingerprints, data.labels)
    told = _told(net, data.description, facts, images)
    described = _Described(data, values, names, facts.get("problems", {}), told)
    return _evaluate({data.description: benchmark}, [Row(data.description, ())], lambda row: described, folder, settings, say)


@dataclasses.dataclass(frozen=True)
class _Described:
    """Images with their descriptors, problems, first table columns, and how to discard descriptors and save a classifier."""

    data: Data
    values: np.ndarray
    names: np.ndarray
    problems: dict[str, str]
    told: dict[str, str]
    discard: Callable[[], None] = lambda: None
    save: Callable[[Outcome], None] = lambda outcome: None


def _check_save(benchmarks, sources, rows: Sequence[Row], path: pathlib.Path) -> None:
    """Raises `InputError` if the classifier cannot be saved as a net, before anything is computed."""
    if len(rows) != 1 or len(rows[0].models) != 1:
        raise InputError(f"`--save` needs exactly one net. Received: {len(sources)}; pass one --model.")
    benchmark = benchmarks[rows[0].data]
    if benchmark.protocol == "random" and benchmark.splits != 1:
        raise InputError(
            f"`--save` needs exactly one split. Received: {benchmark.splits} random splits; pass --splits 1 or --protocol fixed."
        )
    classifying_net.check(sources[rows[0].models[0]], benchmark.descriptor, path)


def _save(found: Outcome, path: pathlib.Path, source: NetFile, digest: str, benchmark: Benchmark, data: Data, say) -> None:
    assert found.classifier is not None  # of `protocols.run`
    views = classifying_net.keep(
        path,
        source,
        benchmark.descriptor,
        found.classifier.kernel,
        found.classifier.bias,
        data.classes,
        activation=found.classifier.activation,
        digest=digest,
    )
    say(f"saved net: {path}; it outputs {found.classifier.told}")
    if benchmark.protocol != "random":
        split = "test" if TEST in data.parts else "val"
        told = f"--model {path} --dataset {benchmark.dataset} --split {split} --protocol {views.kind}"
        say(f"to test it: python -m keras_vgg.evaluate {told}")


def _told(net: str, data: str, facts: dict, images: str = "") -> dict[str, str]:
    """Returns a table's first columns from the facts of descriptors (`facts_of`), which may be empty for a file."""
    nets = facts.get("nets", [])
    scales = ", ".join(map(str, dict.fromkeys(scale for each in nets for scale in each["scales"])))
    digests = " + ".join(each.get("sha256", "") for each in nets)
    told = {
        "net": net,
        "weights": short(digests),
        "data": data,
        "layer": facts.get("layer", ""),
        "Q": scales,
        "combined": facts.get("combine", ""),
    }
    unflipped = [each["net"] for each in nets if each.get("flip", facts.get("flip")) is False]
    of_which = f" of {', '.join(unflipped)}" if len(unflipped) < len(nets) else ""
    descriptor = [f"no flip{of_which}"] if unflipped else []
    descriptor += ["centre crop"] if facts.get("dense") is False else []
    descriptor += ["not of length one"] if facts.get("normalize") is False else []
    descriptor += [f"{facts['pooling']} pooling"] if facts.get("pooling", "floor") != "floor" else []
    descriptor += [facts["precision"]] if facts.get("precision") else []
    identity = {"nets sha256": digests, "images sha256": images, "code sha256": facts.get("code sha256", "")}
    return told | {"descriptor": ", ".join(descriptor)} | identity


def _evaluate(benchmarks, rows, describe, folder, settings: TransferSettings, say) -> list[dict]:
    lines: list[dict] = []
    left_out: dict[tuple[str, str, str], dict] = {}
    files.make_folder(folder)
    for row in rows:
        benchmark, found = benchmarks[row.data], describe(row)
        data = with_descriptors(found.data, found.values, found.names, found.problems)
        lost = np.flatnonzero(~data.usable)
        # A descriptor file names images without rows only among its problems.
        reasons = {name: "no descriptor" for name in found.names[lost] if name} | found.problems
        for name, reason in reasons.items():
            told = left_out.setdefault((row.data, name, reason), digests_of(found.told) | {"nets sha256": {}})
            told["nets sha256"] |= dict.fromkeys(found.told["nets sha256"].split(" + "))
        _write_left_out(folder / "left_out.csv", left_out)
        if lost.size:
            were = agree(lost.size, "was", "were")
            say(f"{counted(lost.size, 'image')} of {row.data} could not be used and {were} skipped: {folder / 'left_out.csv'}")
        keep = settings.save is not None
        outcomes = protocols.run(data, found.values, benchmark, costs=settings.costs, seed=settings.seed, keep=keep)
        found.discard()
        if (gap := max(outcome.gap for outcome in outcomes)) > squared_hinge.GAP:
            say(
                f"Warning: SVMs on {row.data} did not converge: their duality gap is up to {gap:.1e} of the objective, where "
                f"{squared_hinge.GAP:.0e} counts as converged. Normalize the descriptors, or pass smaller --costs."
            )
        if untested := sum(np.isnan(each).sum() for each in outcomes[0].by_class.values()):
            have, do = agree(untested, ("has", "does"), ("have", "do"))
            say(f"{counted(untested, 'class')} of {row.data} {have} no test images and {do} not count in means over classes")
        facts = found.told | {
            "protocol": benchmark.protocol,
            "classes": len(data.classes),
            "left out": lost.size,
            "seed": settings.seed,
        }
        lines += report.lines_of(outcomes, facts, row.paper, data.classes)
        report.write(folder, lines)  # after each row, since a table may take days
        if keep:
            found.save(outcomes[0])
    return lines


def _write_left_out(path: pathlib.Path, left_out: Mapping[tuple[str, str, str], dict]) -> None:
    """Writes data, image and reason, with the digests of all nets concerned, of images and of code."""
    with files.telling(path):
        path.unlink(missing_ok=True)  # of an earlier evaluation
    if left_out:
        columns = ("data", "image", "reason")
        rows = [dict(zip(columns, key, strict=True)) | told for key, told in left_out.items()]
        table = pd.DataFrame([row | {"nets sha256": " + ".join(row["nets sha256"])} for row in rows])
        files.write_text(path, table.to_csv(index=False))
