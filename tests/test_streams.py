"""Standard streams of any encoding, closed or full, cost nothing that was computed."""

import io
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from keras_vgg.errors import InputError
from keras_vgg.support import streams
from keras_vgg.support.progress import Progress
from keras_vgg.training import waiting
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.signals import StopRequest

WORK = """
import pathlib, sys
from keras_vgg.support import entry
def command(arguments):
    print("≤ – █ 向 \\udcff")
    pathlib.Path(sys.argv[1]).write_text("whole")
entry.run(command)
"""


def run(tmp_path, redirect="", **told):
    result = tmp_path / "result"
    command = f'"{sys.executable}" -c "$0" "{result}" {redirect}'
    finished = subprocess.run(["sh", "-c", command, WORK], capture_output=True, env=os.environ | told)
    assert result.read_text() == "whole", finished.stderr
    return finished


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_cannot_be_encoded_is_readable(tmp_path, encoding):
    finished = run(tmp_path, PYTHONIOENCODING=encoding)
    assert finished.returncode == 0, finished.stderr
    expected = "≤ – █ 向 \\xff" if encoding == "utf-8" else "<= - # \\u5411 \\xff"
    assert finished.stdout.decode(encoding).strip() == expected


@pytest.mark.parametrize(("redirect", "reason"), [(">&-", b"it is closed"), ("> /dev/full", b"No space left on device")])
def test_an_output_that_takes_nothing_loses_nothing(tmp_path, redirect, reason):
    finished = run(tmp_path, redirect)
    assert finished.returncode == 2
    assert finished.stderr == b"Could not write to standard output (" + reason + b"); the command itself completed.\n"


@pytest.mark.parametrize("module", ["fit", "evaluate", "predict", "client", "describe", "transfer_eval"])
def test_help_in_ascii(module):
    command = [sys.executable, "-m", f"keras_vgg.{module}", "--help"]
    finished = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (finished.returncode, finished.stderr) == (0, b"")


def test_a_live_line_in_ascii(monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    stream = Terminal(io.BytesIO(), "ascii", errors="keras_vgg.readable")
    monkeypatch.setattr("keras_vgg.support.progress._TERMINAL_SECONDS", 0.0)
    with Progress(3, stream=stream, may_end_early=True) as progress:
        progress.count(1)
        progress.show("step")
    line, blank = stream.buffer.getvalue().split(b"\r")[-3:-1]
    assert b"<= " in line + blank
    assert streams.shown("≤", stream) == "<="


@pytest.fixture
def hang_up_as():
    """Sets what SIGHUP does by default, which `nohup` changes for the tests as well."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda action: signal.signal(signal.SIGHUP, action)
    signal.signal(signal.SIGHUP, before)


def test_a_hang_up_is_a_wish_to_stop_that_is_answered_at_once(hang_up_as, capfd):
    hang_up_as(signal.SIG_DFL)
    with StopRequest("saving") as stop:
        signal.raise_signal(signal.SIGHUP)  # os.kill may hand it to another thread, and this one hears of it later
        assert stop.signal == signal.SIGHUP
    assert "SIGHUP: saving; a second signal ends at once" in capfd.readouterr().err


def test_a_hang_up_that_nohup_ignores_stays_ignored(hang_up_as):
    hang_up_as(signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert not stop


def unread(name, monkeypatch):
    """Makes a standard stream one whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, name, os.fdopen(write, "w"))
    streams.prepare()
    return getattr(sys, name)


def test_an_output_that_nobody_reads_is_a_wish_to_stop(monkeypatch, capfd):
    stream = unread("stdout", monkeypatch)
    with StopRequest("saving") as stop:
        for _ in range(3):
            print("epoch 1", flush=True)
        assert stop.signal == signal.SIGPIPE
    assert capfd.readouterr().err == "\nstandard output was closed: saving\n"
    assert stream.refused is None
    stream = unread("stdout", monkeypatch)
    with StopRequest():
        pass
    with pytest.raises(BrokenPipeError):  # work that nobody wants to save ends there and then
        print("epoch 1", flush=True)
    streams.turn_away(stream)


def test_an_error_stream_that_nobody_reads_ends_nothing(monkeypatch):
    unread("stderr", monkeypatch)
    print("epoch 1", file=sys.stderr, flush=True)


def free_addresses(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()


def test_a_worker_names_whom_it_misses_and_goes_on_once_all_are_there():
    addresses, said, started = free_addresses(2), [], []

    def say(text, flush):
        said.append(text)
        started.append(socket.create_server(("127.0.0.1", int(addresses[1].partition(":")[2]))))

    waiting.meet(addresses, 0, say=say)
    started[0].close()
    assert said == [f"worker 1 of 2 is waiting for 1 other: {addresses[1]}"]


def test_a_worker_that_is_alone_ends():
    addresses = free_addresses(2)
    with pytest.raises(InputError, match=f"No connection after 0.1 s to 1 other: {addresses[1]}\\. Start"):
        waiting.meet(addresses, 0, patience=0.1, say=lambda *told, flush: None)


def test_a_mistake_leaves_no_folder_that_holds_only_a_lock(tmp_path):
    for path, kept in ((tmp_path / "runs" / "a", False), (tmp_path / "mine", True)):
        if kept:
            path.mkdir()
        folder = RunFolder(path)
        folder.claim()
        folder.release()
        assert path.exists() == kept
    assert not (tmp_path / "runs").exists()


def test_a_byte_order_mark_is_no_toml(tmp_path):
    from keras_vgg import recipe

    path = pathlib.Path(tmp_path, "recipe.toml")
    path.write_text('arch = "D"\n', encoding="utf-8-sig")
    assert recipe.read_recipe(path) == {"arch": "D"}
