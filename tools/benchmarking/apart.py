"""Processes of their own, one after another."""

import concurrent.futures
import multiprocessing


def apart(function, *arguments):
    """Calls a function in a process of its own, so that time and peak memory are its alone."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()
