import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_vgg.errors import InputError
from keras_vgg.support import files, leftovers


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    files.write_text(str(path), "new, λ")
    assert path.read_bytes() == "new, λ".encode()
    assert names(tmp_path) == ["a.txt"]


def test_file_beside_has_the_suffix_and_the_old_one_stays_meanwhile(tmp_path):
    path = tmp_path / "net.keras"
    path.write_text("old")
    with files.replacing(path) as beside:
        assert beside.suffix == ".keras"
        assert beside.parent == tmp_path
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize(("raised", "seen"), [(OSError(28, "No space left on device"), InputError), (KeyError("a bug"), KeyError)])
def test_failure_leaves_the_old_file_and_nothing_else(raised, seen, tmp_path):
    def write():
        with files.replacing(path) as beside:
            beside.write_text("half of it")
            raise raised

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(seen, match=r"No space left|a bug"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def write_pair(path, text):
    with files.replacing(path, [".bin"]) as beside:
        beside.write_text(text)
        beside.with_suffix(".bin").write_text(text)


def test_a_file_and_its_companion_are_replaced_together(tmp_path):
    path = tmp_path / "net.v2.xml"
    for text in ("old", "new"):
        write_pair(path, text)
        assert (path.read_text(), path.with_suffix(".bin").read_text()) == (text, text)
        assert names(tmp_path) == ["net.v2.bin", "net.v2.xml"]


@pytest.mark.parametrize("refused", range(4))
def test_a_pair_that_cannot_be_replaced_stays_what_it_was(tmp_path, monkeypatch, refused):
    path, calls, replace = tmp_path / "net.xml", [], os.replace
    write_pair(path, "old")

    def refuse(*paths):
        calls.append(paths)
        if len(calls) == refused + 1:
            raise OSError(28, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"No space left on device. Any earlier file is unchanged"):
        write_pair(path, "new")
    assert (path.read_text(), path.with_suffix(".bin").read_text()) == ("old", "old")
    assert names(tmp_path) == ["net.bin", "net.xml"]


@pytest.mark.parametrize("killed", range(4))
def test_no_file_lies_beside_the_companion_of_another(tmp_path, killed):
    """Whenever the process is killed: then the pair is the old one, or its first file is missing."""
    path = tmp_path / "net.xml"
    write_pair(path, "old")
    program = f"""if True:
        import os, pathlib, signal
        from keras_vgg.support import files
        calls, replace = [], os.replace
        def kill(*paths):
            calls.append(paths)
            if len(calls) == {killed} + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
        os.replace = kill
        with files.replacing({str(path)!r}, [".bin"]) as beside:
            beside.write_text("new")
            beside.with_suffix(".bin").write_text("new")
    """
    finished = subprocess.run([sys.executable, "-c", program], cwd=pathlib.Path(__file__).parents[1], capture_output=True)
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    if path.exists():
        assert (path.read_text(), path.with_suffix(".bin").read_text()) == ("old", "old")
    else:
        assert killed > 0
    write_pair(path, "newer")
    assert names(tmp_path) == ["net.bin", "net.xml"]


def test_what_is_scratch_goes_whatever_happens(tmp_path):
    def work():
        with files.scratch(tmp_path) as folder:
            (folder / "large").write_text("x")
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        work()
    assert names(tmp_path) == []


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Could not write .*none/a\.txt: No such file or directory"):
        files.write_text(tmp_path / "none" / "a.txt", "text")


def test_copy_replaces_the_target_whole(tmp_path):
    source, target = tmp_path / "source.bin", tmp_path / "target.bin"
    source.write_bytes(bytes(range(256)))
    target.write_bytes(b"old and longer" * 100)
    files.copy(source, target)
    assert target.read_bytes() == source.read_bytes() == bytes(range(256))
    assert names(tmp_path) == ["source.bin", "target.bin"]


KILLED = """
    import os, pathlib, signal, sys
    from keras_vgg.support import files
    with getattr(files, sys.argv[1])(pathlib.Path(sys.argv[2])) as beside:
        (beside if sys.argv[1] == "replacing" else beside / "a.txt").write_text("half of it")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", ["replacing", "appearing"])
def test_kill_while_writing_leaves_the_old_file_and_the_next_write_removes_the_rest(way, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    killed = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), way, str(tmp_path / "a.txt")])
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie, as where nobody asks for it
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    files.write_text(tmp_path / "b.txt", "new")
    assert names(tmp_path) == ["a.txt", "b.txt"]
    assert killed.wait() < 0


def test_what_living_processes_write_stays(tmp_path):
    with files.replacing(tmp_path / "a") as first, files.appearing(tmp_path / "b") as second:
        first.write_text("a")
        files.write_text(tmp_path / "c", "c")
        files.remove_leftovers(tmp_path)
        assert first.exists()
        assert second.exists()
    assert names(tmp_path) == ["a", "b", "c"]


def test_only_age_tells_of_processes_elsewhere_and_a_number_given_anew_is_another_process(tmp_path):
    where, process, began = leftovers.owner().split("-")
    elsewhere, again = f".writing-{'f' * 12}-{process}-{began}.a", f".writing-{where}-{process}-{int(began) + 1}.a"
    for name in (elsewhere, again):
        (tmp_path / name).write_text("half of it")
    files.write_text(tmp_path / "b", "new")
    assert names(tmp_path) == [elsewhere, "b"]
    os.utime(tmp_path / elsewhere, times=(time.time() - 25 * 3600,) * 2)
    files.write_text(tmp_path / "b", "newer")
    assert names(tmp_path) == ["b"]


def test_a_folder_appears_whole_beside_others_being_written(tmp_path):
    with files.appearing(tmp_path / "1") as first, files.appearing(tmp_path / "2") as second:
        assert first != second
        (first / "a").write_text("whole")
        assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert (tmp_path / "1" / "a").read_text() == "whole"


def test_a_folder_is_on_the_disk_before_it_appears_and_its_name_after(tmp_path, monkeypatch):
    """In this order, since a power failure may keep the name and lose the content."""
    calls = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: calls.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    rename = pathlib.Path.rename
    monkeypatch.setattr(pathlib.Path, "rename", lambda path, to: (calls.append("rename"), rename(path, to))[1])
    with files.appearing(tmp_path / "1") as beside:
        (beside / "variables").mkdir()
        (beside / "variables" / "data").write_bytes(b"weights")
        (beside / "saved_model.pb").write_bytes(b"graph")
    assert {str(beside / "variables" / "data"), str(beside / "saved_model.pb"), str(beside)} <= {*calls[: calls.index("rename")]}
    assert calls[calls.index("rename") :] == ["rename", str(tmp_path)]


def test_of_two_that_write_the_same_folder_the_second_is_told(tmp_path):
    def write(text, meanwhile=lambda: None):
        with files.appearing(tmp_path / "1") as beside:
            (beside / "a").write_text(text)
            meanwhile()

    with pytest.raises(FileExistsError, match="1 already exists"):
        write("slow", meanwhile=lambda: write("fast"))
    assert (tmp_path / "1" / "a").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    for name, age in ((".writing-old.1", 25 * 3600), (".writing-new.1", 3600)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, times=(time.time() - age,) * 2)
    with files.appearing(tmp_path / "1"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-new.1", "1"]


def test_a_name_that_is_too_long_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="File name too long"):
        files.check_folder(tmp_path / ("a" * 300))
