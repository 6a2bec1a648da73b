"""The addresses of a Slurm step's tasks, in the order of their ranks. Imports no TensorFlow.

Unlike Slurm, TensorFlow's own resolver sorts host names as text (node10 before node9), and it does not parse suffixes.
"""

import itertools
import re
from collections.abc import Mapping

from keras_vgg.errors import InputError

_PORTS = (12000, 1000, 16)  # first port, number of jobs with ports of their own, ports of a job on a node
_BETWEEN_BRACKETS = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)(?:,|$)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def host_names(listed: str) -> list[str]:
    """Returns the hosts of a Slurm host list in its order: `rack[1-2]n[08-10,12]-ib` has eight.

    Raises:
        InputError: if the list is malformed.
    """
    parts = _BETWEEN_BRACKETS.findall(listed)
    if not parts or ",".join(parts) != listed:
        raise InputError(f"A Slurm host list must look like node[1-3,5],login1. Received: {listed!r}.")
    hosts: list[str] = []
    for part in parts:
        pieces = re.split(r"\[([^\]]*)\]", part)  # every second piece was in brackets
        choices = [_numbers(piece, listed) if place % 2 else [piece] for place, piece in enumerate(pieces)]
        hosts += map("".join, itertools.product(*choices))
    return hosts


def _numbers(ranges: str, listed: str) -> list[str]:
    numbers = []
    for each in ranges.split(","):
        found = _RANGE.fullmatch(each)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise InputError(f"Brackets in a Slurm host list must contain ranges like [08-11]. Received: {listed!r}.")
        first, last = found[1], found[2] or found[1]
        numbers += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return numbers


def tasks_per_node(listed: str) -> list[int]:
    """Returns the number of tasks on each node: 2, 2, 2, 1 for `2(x3),1`.

    Raises:
        InputError: if the list is malformed.
    """
    counts = []
    for each in listed.split(","):
        if not (found := _COUNT.fullmatch(each)):
            raise InputError(f"SLURM_STEP_TASKS_PER_NODE must look like 2(x3),1. Received: {listed!r}.")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def addresses(environment: Mapping[str, str]) -> tuple[list[str], int]:
    """Returns `host:port` of every task by its rank, and this task's rank.

    Raises:
        InputError: if Slurm's variables are missing or inconsistent, or the job is heterogeneous.
    """
    if int(environment.get("SLURM_HET_SIZE", "1")) > 1:
        raise InputError(
            "Training requires a Slurm job with one component. Received: a heterogeneous job (SLURM_HET_SIZE above 1)."
        )
    wanted = ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_PROCID")
    if missing := [name for name in wanted if not environment.get(name)]:
        raise InputError(f"A Slurm step must set {', '.join(wanted)}. Received: no {', no '.join(missing)}; start with srun.")
    hosts, counts = host_names(environment[wanted[0]]), tasks_per_node(environment[wanted[1]])
    if len(hosts) != len(counts):
        raise InputError(f"Slurm must list the tasks of each host. Received: {len(hosts)} hosts, {len(counts)} task counts.")
    first, jobs, stride = _PORTS
    port = first + int(environment.get("SLURM_JOB_ID", "0")) % jobs * stride
    nodes = [node for node, count in enumerate(counts) for _ in range(count)]
    every = [f"{hosts[node]}:{port + place}" for node, count in enumerate(counts) for place in range(count)]
    rank = int(environment["SLURM_PROCID"])
    if not 0 <= rank < len(every):
        raise InputError(f"SLURM_PROCID must be below the number of tasks, {len(every)}. Received: {rank}.")
    if (node := int(environment.get("SLURM_NODEID", nodes[rank]))) != nodes[rank]:
        raise InputError(
            f"Ranks must fill one node after another (srun --distribution=block). Received: rank {rank} on node {node}, "
            f"not {nodes[rank]}."
        )
    return every, rank
