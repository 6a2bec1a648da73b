"""Separate processes, one after another."""

import concurrent.futures
import multiprocessing


def apart(function, *arguments):
    """Calls a function in a new process, so that time and peak memory are its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()
