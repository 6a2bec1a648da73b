"""Describes the machine of a benchmark. Imports no framework."""

import importlib.metadata
import os
import pathlib
import platform

import psutil

PACKAGES = ("tensorflow", "keras", "numpy", "torch", "torchvision")


def describe() -> str:
    """Returns two lines: processor, cores and memory; versions of Python and of the frameworks."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{package} {_version(package)}" for package in PACKAGES)
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB\nPython {platform.python_version()}, {versions}"


def _processor() -> str:
    facts = pathlib.Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
