"""Plans a study: hours, disk and memory of each node, from this machine's measured speed or from published speeds.

Imports no TensorFlow.
"""

import dataclasses
from collections.abc import Sequence

import pandas as pd

from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.reproduction.costs import TRAINING_PASSES, Cost, Data, costs_of
from keras_vgg.reproduction.study import Study
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support import files, own_recipes, paths
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import duration, speed

_REFERENCE = "D"  # the net of the published speeds, at 224x224
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Speed:
    """Training speed of a machine.

    Attributes:
        machine: its name, and the number of its GPUs.
        source: source of the figures.
        multiply_adds: per second and net, in units of a forward pass; `""` stands for all other nets.
        devices: number of GPUs that work together, or 1.
        start: seconds from the beginning of a run, without imports, to its first update.
    """

    machine: str
    source: str
    multiply_adds: dict[str, float]
    devices: int = 1
    start: float = 0.0

    def seconds(self, cost: Cost) -> float:
        """Returns the duration of a node."""
        return self.start + cost.multiply_adds / self.multiply_adds.get(cost.arch, self.multiply_adds[""])


@dataclasses.dataclass(frozen=True)
class Plan:
    """The cost of a study.

    Attributes:
        study: the study.
        data: its images.
        costs: of each node with one seed.
        speeds: of machines; the first is used for the times of single nodes.
    """

    study: Study
    data: Data
    costs: Sequence[Cost]
    speeds: Sequence[Speed]

    def hours(self, speed: Speed, *kinds: str) -> float:
        """Returns the hours of all nodes of these kinds with all seeds, one after another."""
        return sum(self.times(cost) * speed.seconds(cost) for cost in self.costs if cost.kind in kinds) / 3600

    def times(self, cost: Cost) -> int:
        """Returns the number of times a node runs."""
        return len(self.study.seeds_of(cost.name))

    def images_per_second(self, speed: Speed) -> float:
        """Returns the speed that the input pipeline needs so that the fastest net never waits."""
        rates = []
        for training in self.study.trainings.values():
            of_net = speed.multiply_adds.get(training.recipe.net, speed.multiply_adds[""])
            rates.append(of_net / (TRAINING_PASSES * training.recipe.multiply_adds(self.data.classes)))
        return max(rates)


def make_plan(study: Study, work: WorkFolder, probed: dict | None = None) -> Plan:
    """Returns the plan of a study.

    Args:
        study: the study.
        work: its work folder; uses the results of `prepare` and earlier probes found there.
        probed: results of `probe`, if it was run.

    Raises:
        InputError: if the number of images is unknown, or the file of an earlier probe is damaged.
    """
    data, probe = data_of(study, work), work.path / "probe.json"
    if probed is None and probe.exists():
        probed = _still_valid(study, files.read_json(probe, dict))
    are_whole = all(training.recipe.width == 1 for training in study.trainings.values())
    speeds = _published() if are_whole else []  # they do not apply to narrow nets
    if probed:
        speeds = [_of_probe(study, data, probed), *speeds]
    return Plan(study, data, costs_of(study, data), speeds)


def _still_valid(study: Study, probed: dict) -> dict | None:
    """Returns the results of an earlier probe, if it was of the same nets in the same precision."""
    now = {training.recipe.net: training.recipe for training in study.trainings.values()}
    return probed if probed.get("nets") == {net: told_of(recipe) for net, recipe in now.items()} else None


def told_of(recipe: Recipe) -> dict:
    """Returns the settings that determine the speed of a net's training, as values for JSON."""
    return {name: getattr(recipe, name) for name in ("arch", "batch_norm", "width", "crop", "batch_size", "precision", "jit")}


def data_of(study: Study, work: WorkFolder) -> Data:
    """Returns the images of a study: those that `prepare` found or, before it has run, those of `sizes`.

    Raises:
        InputError: if neither is available.
    """
    if work.prepared.exists() and work.is_of(study):
        facts = work.data_facts()
        images = facts["images"]
        return Data(
            images["train"], images["validation"], images[study.split], facts["classes"], facts["image_bytes"], facts["aspect"]
        )
    if missing := {"train", "validation", "test", "classes"} - {*study.sizes}:
        raise InputError(
            f"The images of {study.name} must be known to plan it. Received: no {', '.join(sorted(missing))}; "
            "run keras_vgg.reproduce prepare first, or set its `sizes`."
        )
    return Data(**study.sizes)


def _of_probe(study: Study, data: Data, probed: dict) -> Speed:
    of_net = {training.recipe.net: training.recipe for training in study.trainings.values()}
    rates = {
        net: TRAINING_PASSES * of_net[net].multiply_adds(data.classes) * rate
        for net, rate in probed["images_per_second"].items()
        if net in of_net
    }
    rates[""] = min(rates.values())
    start = max(probed["first_update"].values())
    return Speed(probed["machine"], f"measured here on {probed['images']}", rates, start=start)


def _published() -> list[Speed]:
    table = files.read_recipe_file(own_recipes.find(paths.path_of("recipes/throughputs.toml")))
    facts = configs.layer_facts(_REFERENCE, classes=_CLASSES)
    of_image = TRAINING_PASSES * sum(layer.multiply_adds for layer in facts)
    return [
        Speed(f"{number} x {machine['name']}", machine["source"], {"": rate * of_image}, int(number))
        for machine in table["machines"]
        for number, rate in machine["images_per_second"].items()
    ]


def told(plan: Plan) -> str:
    """Returns a plan as text: its nodes, and their total on each machine."""
    study = plan.study
    runs = sum(map(plan.times, plan.costs))
    lines = [
        f"{study.title}: {counted(len(study.trainings), 'net')}, {counted(len(study.starts), 'start')}, "
        f"{counted(len(study.tables), 'table')}; seeds: {study.seeds}; {runs} trainings and tests",
        f"images: {plan.data.train:,} for training, {plan.data.validation:,} for validation, {plan.data.test:,} for tests, "
        f"{counted(plan.data.classes, 'class')}",
        "",
        *_times(plan),
        "",
        f"total disk space: {sum(plan.times(cost) * cost.disk for cost in plan.costs) / 1e9:.1f} GB",
    ]
    return "\n".join(lines)


def _times(plan: Plan) -> list[str]:
    if not plan.speeds:
        costs = _nodes(plan, None).to_string(index=False)
        return ["each node; pass --probe to measure times:", costs]
    first = plan.speeds[0]
    return [
        f"each node, on {first.machine} ({first.source}):",
        _nodes(plan, first).to_string(index=False),
        "",
        "total, an upper bound, since a plateau may end a training early:",
        _totals(plan).to_string(index=False),
    ]


def _nodes(plan: Plan, speed_: Speed | None) -> pd.DataFrame:
    rows = [
        {
            "node": f"{cost.kind} {cost.name}",
            "images": f"{cost.images:,}",
            "GMAC": f"{cost.multiply_adds / 1e9:,.0f}",
            "takes": duration(speed_.seconds(cost)) if speed_ else "",
            "device hours": f"{speed_.devices * speed_.seconds(cost) / 3600:,.2f}" if speed_ else "",
            "disk MB": f"{cost.disk / 1e6:,.1f}",
            "memory MB": f"{cost.memory / 1e6:,.0f}" if cost.memory else "",
        }
        for cost in plan.costs
    ]
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()]


def _totals(plan: Plan) -> pd.DataFrame:
    rows = []
    for each in plan.speeds:
        trains, tests = plan.hours(each, "train", "start"), plan.hours(each, "test")
        needed = plan.images_per_second(each)
        rows.append(
            {
                "machine": each.machine,
                "trainings": duration(3600 * trains),
                "tests": duration(3600 * tests),
                "device hours": f"{each.devices * (trains + tests):,.1f}",
                "input images/s": speed(needed),
                "MB/s": speed(needed * plan.data.image_bytes / 1e6) if plan.data.image_bytes else "",
                "known from": each.source,
            }
        )
    return pd.DataFrame(rows)
