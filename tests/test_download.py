import dataclasses
import errno
import functools
import hashlib
import http.server
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import keras
import pytest

from keras_vgg.errors import InputError
from keras_vgg.support import leftovers
from keras_vgg.weights import download
from keras_vgg.weights.catalogue import File

CONTENT = bytes(range(256)) * 400  # a dozen blocks of those in which it is fetched
LENGTH = len(CONTENT)
OTHER = b"<html>Log in to this hotel's network</html>"
NAME = "net.h5"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        getattr(self, "send_" + self.path.split("/")[1])()

    def send_whole(self):
        self._send(CONTENT)

    def send_together(self):
        self.server.both.wait(20)
        self._send(CONTENT[:50_000], rest=CONTENT[50_000:])

    def send_missing(self):
        self.send_error(404)

    def send_cut(self):
        self._send(CONTENT[:50_000])

    def send_reset(self):
        self._send(CONTENT[:50_000])
        # With "linger" for no time at all the socket is closed by a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def send_other(self):
        self._send(OTHER, length=len(OTHER))

    def send_hanging(self):
        self._send(CONTENT[:50_000])
        self.server.stop.wait(10)

    def send_silent(self):
        self.server.stop.wait(10)

    def send_nothing(self):
        pass

    def send_interrupted(self):
        self._send(CONTENT[:50_000])
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.server.stop.wait(10)

    def _send(self, content, length=LENGTH, rest=b""):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)
        if rest:
            self.server.both.wait(20)
            self.wfile.write(rest)

    def log_message(self, *args):
        pass


class Server:
    """A server of this machine; `file(behaviour)` lies on it."""

    def __init__(self):
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *args: None
        self._http.requests, self._http.stop, self._http.both = [], threading.Event(), threading.Barrier(2)
        self.requests = self._http.requests
        self._thread = threading.Thread(target=functools.partial(self._http.serve_forever, poll_interval=0.01))
        self._thread.start()

    def file(self, behaviour, hash="sha256", content=CONTENT, digits=None):
        url = f"http://127.0.0.1:{self._http.server_port}/{behaviour}/{NAME}"
        return File(url, f"{hash}:{hashlib.new(hash, content).hexdigest()[:digits]}")

    def stop(self):
        if self._thread.is_alive():
            self._http.stop.set()
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_FALLBACK", tmp_path / "fallback")
    return tmp_path / "keras" / "models"


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def failure(file, **options):
    with pytest.raises(InputError) as raised:
        download.fetch(file, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("hash", "digits"), [("md5", None), ("sha1", None), ("sha256", None), ("sha256", 8)])
def test_fetches_once_and_needs_no_network_afterwards(hash, digits, server, folder, capsys):
    file = server.file("whole", hash, digits=digits)
    path = download.fetch(file)
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert everything_in(folder) == [NAME]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()
    shown = capsys.readouterr()
    assert shown.out == ""  # results go there
    assert f"Downloading data from {file.url}" in shown.err
    assert f"{LENGTH}/{LENGTH}" in shown.err  # the progress bar

    server.stop()
    assert download.fetch(file) == path
    assert server.requests == [f"/whole/{NAME}"]
    assert capsys.readouterr() == ("", "")


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_file_put_by_hand_is_used(server, folder):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    assert download.fetch(server.file("missing")).read_bytes() == CONTENT
    assert server.requests == []


def test_rest_of_an_interrupted_download_is_replaced(server, folder, capsys):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT[:1000])
    file = server.file("whole")
    assert download.fetch(file).read_bytes() == CONTENT
    assert f"{folder / NAME} is incomplete or a different file (sha256 expected {file.hash[7:]}, " in capsys.readouterr().err
    assert everything_in(folder) == [NAME]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "404 Not Found"),
        ("cut", "retrieval incomplete: got only 50000 out of 102400 bytes"),
        ("reset", "Connection reset by peer"),
        ("nothing", "Remote end closed connection without response"),
        ("hanging", "timed out, no data for 0.2 s"),
        ("silent", "timed out, no data for 0.2 s"),
    ],
)
def test_failure_says_what_to_do_and_leaves_nothing(behaviour, reason, server, folder, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.2)
    file = server.file(behaviour)
    assert failure(file) == (
        f"Could not download {file.url} ({reason}). Download it on a machine with network access and put it at {folder / NAME}, "
        "or pass that file as `weights`."
    )
    assert everything_in(folder) == []
    assert socket.getdefaulttimeout() is None


def test_it_says_as_which_argument_a_file_may_be_given_if_any(server, folder):
    file = server.file("missing")
    assert failure(file, argument="calibration").endswith(f"put it at {folder / NAME}, or pass that file as `calibration`.")
    assert failure(file, argument=None).endswith(f"put it at {folder / NAME}.")


def test_files_of_one_name_are_kept_apart(server, folder):
    files = [dataclasses.replace(server.file("whole"), kept_as=name) for name in ("first.h5", "second.h5")]
    assert [download.fetch(file) for file in files] == [folder / "first.h5", folder / "second.h5"]


def test_no_network(server):
    file = server.file("whole")
    server.stop()
    assert f"Could not download {file.url} (Connection refused). Download it" in failure(file)


def test_no_name_service(monkeypatch):
    def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert "(Name or service not known)" in failure(File("https://weights.invalid/net.h5", "md5:00"))


@pytest.mark.parametrize("digits", [None, 8])
def test_wrong_hash_is_told_and_the_file_not_kept(digits, server, folder):
    file = server.file("other", digits=digits)
    received = hashlib.sha256(OTHER).hexdigest()
    expected = file.hash[7:] + ("…" if digits else "")
    assert f"(sha256 expected {expected}, received {received}, 43 bytes; discarded). Download it" in failure(file)
    assert everything_in(folder) == []


def test_sizes_are_told_if_known(server):
    file = File(server.file("other").url, "md5:00", size=1000)
    assert "43 bytes instead of 1000; discarded" in failure(file)


def test_failure_leaves_the_file_that_was_there(server, folder):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"my own")
    failure(server.file("cut"))
    assert (folder / NAME).read_bytes() == b"my own"
    assert everything_in(folder) == [NAME]


def test_interrupt_from_the_keyboard_leaves_nothing(server, folder):
    with pytest.raises(KeyboardInterrupt):
        download.fetch(server.file("interrupted"))
    assert everything_in(folder) == []
    assert socket.getdefaulttimeout() is None


def test_bug_is_not_taken_for_a_failure_of_the_network(server, folder, monkeypatch):
    def get_file(*args, **kwargs):
        raise TypeError("a bug")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(TypeError, match="a bug"):
        download.fetch(server.file("whole"))
    assert everything_in(folder) == []


def test_what_killed_processes_left_is_removed_and_what_others_fetch_is_not(server, folder):
    for age, number in ((2 * 3600, "dead"), (60, "alive")):
        path = folder / f".fetching-{number}" / NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[:1000])
        os.utime(path, (time.time() - age,) * 2)
    download.fetch(server.file("whole"))
    assert everything_in(folder) == [".fetching-alive", f".fetching-alive/{NAME}", NAME]


def test_what_a_killed_process_left_a_moment_ago_is_removed(server, folder):
    where, process, began = leftovers.owner().split("-")
    for number, name in ((int(began) + 1, "dead"), (began, "alive")):  # the same number of another process, which is gone
        path = folder / f".fetching-{where}-{process}-{number}-{name}" / NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[:1000])
    download.fetch(server.file("whole"))
    alive = f".fetching-{leftovers.owner()}-alive"
    assert everything_in(folder) == [alive, f"{alive}/{NAME}", NAME]


def test_a_progress_bar_that_breaks_off_ends_its_line(server, capsys):
    with pytest.raises(InputError):
        download.fetch(server.file("cut"))
    assert capsys.readouterr().err.endswith("\n")


def test_threads_fetch_one_file_once(server, folder):
    stdout, paths = sys.stdout, []
    threads = [threading.Thread(target=lambda: paths.append(download.fetch(server.file("whole")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [folder / NAME] * 4
    assert server.requests == [f"/whole/{NAME}"]
    assert socket.getdefaulttimeout() is None
    assert sys.stdout is stdout


def test_default_folder_is_in_the_home(server, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.fetch(server.file("whole")) == tmp_path / ".keras" / "models" / NAME


def test_relative_folder(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", "here")
    assert download.fetch(server.file("whole")) == tmp_path / "here" / "models" / NAME


def test_file_in_a_read_only_folder_is_used(server, folder, monkeypatch):
    monkeypatch.setattr(download.os, "access", lambda *args: False)
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    assert download.fetch(server.file("missing")) == folder / NAME


def test_new_file_goes_elsewhere_if_the_folder_is_read_only(server, tmp_path, monkeypatch):
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a_file" / "keras"))
    path = download.fetch(server.file("whole"))
    assert path == tmp_path / "fallback" / "models" / NAME
    server.stop()
    assert download.fetch(server.file("whole")) == path


def test_a_full_disk_is_told_and_sends_the_file_nowhere_else(server, folder, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download.pathlib.Path, "mkdir", full)
    assert f"(could not write to {folder}: No space left on device)" in failure(server.file("whole"))
    assert not (tmp_path / "fallback").exists()


def test_nowhere_to_write(server, tmp_path, monkeypatch):
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a_file" / "keras"))
    monkeypatch.setattr(download, "_FALLBACK", tmp_path / "a_file")
    assert f"(could not write to {tmp_path / 'a_file' / 'models'}: Not a directory)" in failure(server.file("whole"))


def test_two_processes_at_once_and_keras_finds_the_file_in_the_same_place(server, tmp_path):
    # Keras reads KERAS_HOME when it is imported, so this takes processes of their own.
    file = server.file("together")
    program = """
        import sys
        import keras
        from keras_vgg.weights import catalogue, download
        url, hash = sys.argv[1:]
        path = download.fetch(catalogue.File(url, hash))
        assert keras.utils.get_file(origin=url, cache_subdir="models", file_hash=hash.split(":")[1]) == str(path)
        print(path)
    """
    environment = {**os.environ, "KERAS_HOME": str(tmp_path / "elsewhere")}
    command = [sys.executable, "-c", textwrap.dedent(program), file.url, file.hash]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert outputs == [f"{tmp_path / 'elsewhere' / 'models' / NAME}\n"] * 2
    assert server.requests == [f"/together/{NAME}"] * 2
    assert everything_in(tmp_path / "elsewhere" / "models") == [NAME]
