import subprocess
import sys
import textwrap

import pytest

from keras_vgg import files
from keras_vgg.errors import InputError


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


def test_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = """
        import os, signal, sys
        from keras_vgg import files
        with files.replacing(sys.argv[1]) as beside:
            beside.write_text("half of it")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=False)
    assert killed.returncode < 0
    assert path.read_text() == "old"
