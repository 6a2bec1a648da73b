"""How commands end."""

import argparse
import os
import signal
import subprocess
import sys

import pytest

from keras_vgg.support import cli, naming

PROGRAM = """
import os, signal
from keras_vgg.support import entry
from keras_vgg.errors import InputError

def command(arguments):
    try:
        {work}
    finally:
        print("tidied up")

entry.run(command)
"""
TERMINATE = "os.kill(os.getpid(), signal.SIGTERM)"
MADE_ANOTHER = f"""
        try:
            {TERMINATE}
        except BaseException as error:
            raise RuntimeError("an operation failed") from error
"""
LOST = f"""
        import time
        try:
            {TERMINATE}
        except BaseException:
            pass
        time.sleep(30)
        print("never")
"""
SLOW_TO_TIDY_UP = f"""
        import time
        try:
            {TERMINATE}
        finally:
            time.sleep(1)
"""


@pytest.mark.parametrize(
    ("work", "code", "told"),
    [
        ("pass", 0, ""),
        ("raise InputError('Give\\n  a file.')", 2, "Give a file.\n"),
        ("os.kill(os.getpid(), signal.SIGINT)", 128 + signal.SIGINT, "\ninterrupted\n"),
        (TERMINATE, 128 + signal.SIGTERM, ""),
        (MADE_ANOTHER, 128 + signal.SIGTERM, ""),
        (LOST, 128 + signal.SIGTERM, ""),
        (SLOW_TO_TIDY_UP, 128 + signal.SIGTERM, ""),
    ],
)
def test_exit_code_and_error_stream(work, code, told):
    finished = subprocess.run([sys.executable, "-c", PROGRAM.format(work=work)], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr, finished.stdout) == (code, told, "tidied up\n")


def test_a_bug_is_a_traceback():
    program = PROGRAM.format(work="raise RuntimeError('a bug')")
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.startswith("Traceback")
    assert finished.stderr.endswith("RuntimeError: a bug\n")


def test_tensorflow_alone_is_imported_whatever_keras_was_told():
    program = (
        "from keras_vgg.support import entry; entry.import_tensorflow(with_keras=False); import sys; print('keras' in sys.modules)"
    )
    told = {"KERAS_BACKEND": "torch"}
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | told)
    assert finished.stdout == "False\n", finished.stderr


def test_slugs_are_names_of_files():
    assert naming.slug("runs/a & b, Q=256!") == "runs-a-b-Q-256"
    long = [naming.slug("é" * 200 + end) for end in ("a", "b")]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= 120 for name in long)


def test_anumber_or_auto():
    assert cli.number_or_auto("auto") == "auto"
    assert cli.number_or_auto("8") == 8
    with pytest.raises(argparse.ArgumentTypeError, match="must be an integer or auto"):
        cli.number_or_auto("most")
