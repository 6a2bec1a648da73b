"""A plan before the bill: hours, disk and memory of each node, by what this machine was found to do or by published speeds.

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
from keras_vgg.support.progress import duration, speed

_REFERENCE = "D"  # the net of published speeds, at its 224x224
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a machine trains.

    Attributes:
        machine: its name, and how many of its GPUs.
        source: where that is known from.
        multiply_adds: a second and net, in units of a forward pass; under `""` of nets that are not named.
        devices: GPUs that work together, or 1.
        start: seconds from the beginning of a run, imports apart, to its first update.
    """

    machine: str
    source: str
    multiply_adds: dict[str, float]
    devices: int = 1
    start: float = 0.0

    def seconds(self, cost: Cost) -> float:
        """Returns how long a node takes."""
        return self.start + cost.multiply_adds / self.multiply_adds.get(cost.arch, self.multiply_adds[""])


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a study takes.

    Attributes:
        study: the study.
        data: its images.
        costs: of each node with one seed.
        speeds: of machines, the first that by which nodes are told singly.
    """

    study: Study
    data: Data
    costs: Sequence[Cost]
    speeds: Sequence[Speed]

    def hours(self, speed: Speed, *kinds: str) -> float:
        """Returns the hours of all nodes of these kinds with all seeds, one after another."""
        return sum(self.times(cost) * speed.seconds(cost) for cost in self.costs if cost.kind in kinds) / 3600

    def times(self, cost: Cost) -> int:
        """Returns how often a node is done."""
        return len(self.study.seeds_of(cost.name))

    def images_per_second(self, speed: Speed) -> float:
        """Returns what the input pipeline must deliver so that the fastest of the nets never waits."""
        rates = []
        for training in self.study.trainings.values():
            of_net = speed.multiply_adds.get(training.recipe.net, speed.multiply_adds[""])
            rates.append(of_net / (TRAINING_PASSES * training.recipe.multiply_adds(self.data.classes)))
        return max(rates)


def make_plan(study: Study, work: WorkFolder, probed: dict | None = None) -> Plan:
    """Returns the plan of a study.

    Args:
        study: what is to be done.
        work: where; what `prepare` and earlier probes found there is taken.
        probed: what `probe` found, if it was asked for.

    Raises:
        InputError: if it is not known how many images there are, or what an earlier probe left is damaged.
    """
    data, probe = data_of(study, work), work.path / "probe.json"
    if probed is None and probe.exists():
        probed = _still_valid(study, files.read_json(probe, dict))
    are_whole = all(training.recipe.width == 1 for training in study.trainings.values())
    speeds = _published() if are_whole else []  # of narrow nets they tell nothing
    if probed:
        speeds = [_of_probe(study, data, probed), *speeds]
    return Plan(study, data, costs_of(study, data), speeds)


def _still_valid(study: Study, probed: dict) -> dict | None:
    """Returns what an earlier probe found, if it was of the nets as the study has them now, in the same precision."""
    now = {training.recipe.net: training.recipe for training in study.trainings.values()}
    return probed if probed.get("nets") == {net: told_of(recipe) for net, recipe in now.items()} else None


def told_of(recipe: Recipe) -> dict:
    """Returns what the speed of a net's training depends on, as JSON can write it."""
    return {name: getattr(recipe, name) for name in ("arch", "batch_norm", "width", "crop", "batch_size", "precision", "jit")}


def data_of(study: Study, work: WorkFolder) -> Data:
    """Returns the images of a study: those that `prepare` found or, before that, those that it says it is meant for.

    Raises:
        InputError: if neither is there.
    """
    if work.prepared.exists() and work.is_of(study):
        facts = work.data_facts()
        images = facts["images"]
        return Data(
            images["train"], images["validation"], images[study.split], facts["classes"], facts["image_bytes"], facts["aspect"]
        )
    if missing := {"train", "validation", "test", "classes"} - {*study.sizes}:
        raise InputError(
            f"The images of {study.name} must be known before it can be planned. Received: no {', '.join(sorted(missing))}; "
            "run keras_vgg.reproduce prepare first, or give its `sizes`."
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
    """Returns a plan for people: its nodes, and what they come to on each machine."""
    study = plan.study
    runs = sum(map(plan.times, plan.costs))
    lines = [
        f"{study.title}: {len(study.trainings)} nets, {len(study.starts)} starts, {len(study.tables)} tables; "
        f"seeds: {study.seeds}; {runs} trainings and tests",
        f"images: {plan.data.train:,} for training, {plan.data.validation:,} for validation, {plan.data.test:,} for tests, "
        f"{plan.data.classes} classes",
        "",
        *_times(plan),
        "",
        f"disk in all: {sum(plan.times(cost) * cost.disk for cost in plan.costs) / 1e9:.1f} GB",
    ]
    return "\n".join(lines)


def _times(plan: Plan) -> list[str]:
    if not plan.speeds:
        costs = _nodes(plan, None).to_string(index=False)
        return ["each node; how long it takes, --probe measures:", costs]
    first = plan.speeds[0]
    return [
        f"each node, on {first.machine} ({first.source}):",
        _nodes(plan, first).to_string(index=False),
        "",
        "all of it, at the most, since a plateau may end a training before its last epoch:",
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
