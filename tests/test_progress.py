"""The live line of long work, as it stands on a terminal and in a file."""

import io
import os
import re

import pytest

from keras_vgg.errors import InputError
from keras_vgg.support import progress
from keras_vgg.support.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Every line is shown, however soon after the last."""
    monkeypatch.setattr(progress, "_TERMINAL_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_FILE_SECONDS", 0.0)


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda *fallback: os.terminal_size((40, 24)))


def screen(written, columns):
    """What stands on a terminal's lines at last, without spaces at their ends."""
    lines, row, column = {}, 0, 0
    for letter in written:
        if letter == "\n":
            row, column = row + 1, 0
        elif letter == "\r":
            column = 0
        else:
            if column == columns:  # it wraps, and nothing leads back up
                row, column = row + 1, 0
            lines[row, column] = letter
            column += 1
    rows = ["".join(lines.get((at, column), " ") for column in range(columns)).rstrip() for at in range(row + 1)]
    return rows


def work(stream, text="step", *, fails=False):
    with Progress(3, stream=stream) as shown:
        for step in (1, 2, 3):
            shown.count(1)
            shown.show(f"{text} {step}")
        if fails:
            raise InputError("The net overflowed.")


def test_what_comes_after_the_live_line_has_a_line_of_its_own(narrow):
    stream = Terminal()
    work(stream)
    assert "step 2 " in stream.getvalue()
    print("features.npz: 3 images", file=stream)
    assert screen(stream.getvalue(), 40) == ["features.npz: 3 images", ""]


def test_so_has_what_is_told_of_an_error(narrow):
    stream = Terminal()
    with pytest.raises(InputError):
        work(stream, fails=True)
    print("The net overflowed.", file=stream)
    assert screen(stream.getvalue(), 40) == ["The net overflowed.", ""]


def test_a_line_that_stays_takes_the_place_of_the_live_one(narrow):
    stream = Terminal()
    with Progress(2, stream=stream) as shown:
        shown.count(1)
        shown.show("step 1, of which there is more to tell")
        shown.say("epoch 1")
        shown.count(1)
        shown.show("step 2")
    assert screen(stream.getvalue(), 40) == ["epoch 1", ""]


def test_a_live_line_never_wraps(narrow):
    stream = Terminal()
    work(stream, "a net, its views and much more that is told of them")
    shown = [line for line in stream.getvalue().split("\r") if line.strip()]
    assert len(shown) == 3
    for line in shown:
        assert len(line) == 39
        assert line.startswith("a net")
        assert re.search(r"…  \S+ images/s  \ds left$", line)  # which is what one looks for
    assert screen(stream.getvalue(), 40) == [""]


def test_a_line_that_stays_is_told_whole(narrow):
    stream = Terminal()
    Progress(1, stream=stream).say("words " * 20)
    assert stream.getvalue().lstrip("\r") == "words " * 20 + "\n"


def test_a_file_gets_whole_lines():
    stream = io.StringIO()
    work(stream, "a net, its views and much more that is told of them, line by line, in a file that nobody needs to rewrite")
    lines = stream.getvalue().split("\n")
    assert len(lines) == 4
    assert lines[-1] == ""
    assert all(line.endswith(" left") for line in lines[:3])


def test_without_a_stream_nothing_is_written(capsys):
    work(None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (45.4, "45s"), (190, "3m10s"), (7500, "2h05m"), (273_600, "3d04h"), (-1, "0s")]
)
def test_durations(seconds, told):
    assert progress.duration(seconds) == told


@pytest.mark.parametrize(("number", "told"), [(0.01234, "0.0123"), (45.64, "45.6"), (123.4, "123"), (1234.5, "1,234")])
def test_speeds(number, told):
    assert progress.speed(number) == told


def test_time_left_is_what_is_left_at_the_rate_of_this_process(monkeypatch):
    """What an earlier process has done does not make this one faster."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    shown = Progress(1000, done=700, stream=stream)
    clock[0] += 10
    shown.count(100)
    shown.show("images")
    assert stream.getvalue() == "images  10 images/s  20s left\n"
