"""The client of served models: the command and what is under it, against the local server's routes."""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import local_server
import numpy as np
import pytest
import small_served_model
import tensorflow as tf
from PIL import Image
from small_served_model import FEATURES, NO_IMAGE, mean_color
from warm_process import WarmProcess

from keras_vgg import client
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import find_images

TRUNCATED = "truncated.jpg"
BROKEN = {"empty.jpg": "empty file", "notes.txt": NO_IMAGE, TRUNCATED: NO_IMAGE}
PACKAGE = pathlib.Path(__file__).parents[1]
PROTOCOLS = ("grpc", "rest")


@pytest.fixture(scope="session")
def base_path(tmp_path_factory):
    return small_served_model.save(tmp_path_factory.mktemp("models") / "vgg")


@pytest.fixture(scope="module")
def server(base_path):
    with local_server.serving(base_path, labels=("canary",)) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of 200 images, each of its own colour, some PNG and some JPEG."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for number, color in enumerate(rng.integers(0, 256, (200, 3))):
        Image.new("RGB", (7, 5), tuple(color.tolist())).save(folder / f"{number:03d}.{('png', 'jpg')[number % 2]}", quality=95)
    return folder


@pytest.fixture(scope="session")
def expected(base_path, images):
    """`{path: (class, label, posterior) of the top}` by running the saved model itself."""
    paths = find_images([str(images)])
    classify = tf.saved_model.load(str(base_path / "2")).signatures["classify"]
    outputs = classify(images=tf.constant([open(path, "rb").read() for path in paths]))
    names, labels, scores = (outputs[name].numpy() for name in ("class_names", "class_ids", "scores"))
    assert len({tuple(row) for row in scores.tolist()}) > 190  # so that answers that changed places would be seen
    return {
        path: [(name.decode(), label, score) for name, label, score in zip(names[n], labels[n], scores[n].tolist(), strict=True)]
        for n, path in enumerate(paths)
    }


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def with_broken(images, tmp_path):
    """Ten images and three files that are none."""
    for path in sorted(images.iterdir())[:10]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / TRUNCATED).write_bytes((images / "001.jpg").read_bytes()[:200])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def strictly(line):
    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(line, parse_constant=refuse)


def top(line):
    return [(each["class"], each["label"], each["posterior"]) for each in line["top"]]


def same(answer, expected):
    return [each[:2] for each in answer] == [each[:2] for each in expected] and np.allclose(
        [each[2] for each in answer], [each[2] for each in expected], atol=1e-6
    )


def report_of(error):
    """`{"requests": …, "images": …, "failed": …, "retries": …}` as told at the end of the error stream."""
    return {
        what: int(number) for number, what in re.findall(r"(\d+) (requests|images|failed|retries)\b(?!/)", error.splitlines()[-1])
    }


# --- Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers_equal_the_saved_models_in_the_order_of_the_arguments(protocol, server, images, expected, capsys):
    backwards = [str(path) for path in sorted(images.iterdir(), reverse=True)]
    assert client.main([*backwards, "--url", getattr(server, protocol), "--json", "--concurrency", "5", "--batch", "7"]) is None
    captured = capsys.readouterr()
    lines = [strictly(line) for line in captured.out.splitlines()]
    assert [line["image"] for line in lines] == backwards
    for line in lines:
        assert same(top(line), expected[line["image"]])
        assert 0 < line["milliseconds"] < 60_000
    assert report_of(captured.err) == {"requests": math.ceil(200 / 7), "images": 200, "failed": 0, "retries": 0}
    assert f"{getattr(server, protocol)} serves vgg version 2: classify, features, serving_default\n" in captured.err


def test_for_people(server, images, expected, capsys):
    path = str(images / "000.png")
    client.main([path, "--url", server.rest])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == path
    for line, (name, _, score) in zip(lines, expected[path], strict=True):
        assert line.split()[-1] == name
        assert float(line.split("%")[0]) == pytest.approx(100 * score, abs=0.06)
        assert line.count("█") == pytest.approx(30 * score, abs=0.51)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_no_image_is_told_and_the_rest_answered(protocol, server, with_broken, capsys):
    assert client.main([str(with_broken), "--url", getattr(server, protocol), "--json", "--batch", "4"]) == 2
    captured = capsys.readouterr()
    lines = {os.path.basename(line["image"]): line for line in map(strictly, captured.out.splitlines())}
    assert len(lines) == 13
    assert {name: line["error"] for name, line in lines.items() if "error" in line} == BROKEN
    told = [line for line in captured.err.splitlines() if str(with_broken) in line]
    assert sorted(told) == sorted(f"{with_broken / name}: {reason}" for name, reason in BROKEN.items())
    report = report_of(captured.err)
    assert (report["images"], report["failed"], report["retries"]) == (13, 3, 0)


def test_nothing_but_broken_images(server, with_broken, capsys):
    assert client.main([str(with_broken / "notes.txt"), str(with_broken / "empty.jpg"), "--url", server.rest]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert report_of(captured.err)["failed"] == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_features_are_written(protocol, server, with_broken, tmp_path, capsys):
    file = tmp_path / "features.npz"
    assert client.main([str(with_broken), "--url", getattr(server, protocol), "--features", str(file), "--batch", "3"]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"features of 10 images, {FEATURES} each: {file}\n"
    with np.load(file) as written:
        paths, features = written["paths"].tolist(), written["features"]
    assert paths == [str(path) for path in sorted(with_broken.iterdir()) if path.name not in BROKEN and path != file]
    assert (features.dtype, features.shape) == (np.float32, (10, FEATURES))
    for path, row in zip(paths, features, strict=True):
        np.testing.assert_allclose(row[:3], mean_color(open(path, "rb").read()), atol=1e-3)
    assert len(list(tmp_path.glob(".*"))) == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_names_that_are_not_utf_8(server, images, tmp_path, capfd, flags):
    path = os.path.join(tmp_path, os.fsdecode(b"br\xfcch.png"))
    shutil.copyfile(images / "000.png", path)
    assert client.main([path, "--url", server.rest, *flags]) is None
    first = capfd.readouterr().out.splitlines()[0]  # a strict UTF-8 stream
    assert (strictly(first)["image"] if flags else first) == f"{tmp_path}/br\\xfcch.png"


def test_no_features_no_file(server, with_broken, tmp_path, capsys):
    file = tmp_path / "features.npz"
    assert client.main([str(with_broken / "notes.txt"), "--url", server.rest, "--features", str(file)]) == 2
    assert not file.exists()


def test_repeated_it_asks_often_and_prints_once(server, with_broken, capsys):
    assert client.main([str(with_broken), "--url", server.grpc, "--json", "--repeat", "3", "--batch", "13"]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 13
    assert captured.err.count(NO_IMAGE) == 2  # once for each
    assert report_of(captured.err) == {"requests": 3, "images": 39, "failed": 9, "retries": 0}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_version_and_label(protocol, server, images, capsys):
    arguments = [str(images / "000.png"), "--url", getattr(server, protocol), "--json"]
    for flags in (["--model-version", "2"], ["--label", "canary"]):
        assert client.main([*arguments, *flags]) is None
        assert "serves vgg version 2" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^Version 7 of 'vgg' at \S+ is not available. Available: 2.$"):
        client.main([*arguments, "--model-version", "7"])
    with pytest.raises(InputError, match=r"label 'stable' \(.*label: stable.* --model-name and --label\.$"):
        client.main([*arguments, "--label", "stable"])


# --- Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_name_is_told_early(protocol, server, images):
    with pytest.raises(InputError, match=r"has no model 'vgg19' \(.*of model vgg19\)\. Pass the right --model-name\.$") as raised:
        client.main([str(images), "--url", getattr(server, protocol), "--name", "vgg19"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_without_the_signature_says_what_it_has(protocol, base_path, images, tmp_path):
    (tmp_path / "1").symlink_to(base_path / "1")
    with local_server.serving(tmp_path) as old, pytest.raises(InputError) as raised:
        client.main([str(images), "--url", getattr(old, protocol)])
    assert re.fullmatch(
        r"Version 1 of the model 'vgg' at \S+ must have a signature 'classify' with the outputs "
        r"class_ids, class_names, error, scores\. It has: serving_default \(probabilities\)\. "
        r"The client sends image files; export the net with python -m keras_vgg\.export\.",
        str(raised.value),
    )


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_nobody_at_the_port_is_told_at_once(form, images):
    url, started = form.format(local_server.free_port()), time.monotonic()
    with pytest.raises(
        InputError, match=rf"^No response from TensorFlow Serving at {url} \(.*Connection refused.*\)\. Pass its gRPC"
    ):
        client.main([str(images), "--url", url])
    assert time.monotonic() - started < 15  # not the 120 s of --retry-for


def test_the_port_of_the_other_protocol(server, images):
    for url in (f"127.0.0.1:{server.rest_port}", f"http://127.0.0.1:{server.grpc_port}"):
        with pytest.raises(InputError, match=r"Pass its gRPC port as HOST:8500 or its REST port as http://HOST:8501"):
            client.main([str(images), "--url", url, "--timeout", "5"])


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost", "The server address must be HOST:8500 (gRPC) or http://HOST:8501 (REST). Received: 'localhost'."),
        ("ftp://localhost:1", "Received: 'ftp://localhost:1'."),
        ("localhost:8500/v1", "Received: 'localhost:8500/v1'."),
        ("http://localhost:99999", "The port must be a number from 1 to 65535."),
    ],
)
def test_no_address(url, told, images):
    with pytest.raises(InputError, match=re.escape(told)):
        client.main([str(images), "--url", url])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--batch 0", "Argument --images-per-request: must be at least 1 (received 0)"),
        ("--concurrency 0", "Argument --concurrency: must be at least 1 (received 0)"),
        ("--repeat 0", "Argument --repeat: must be at least 1 (received 0)"),
        ("--timeout 0", "Argument --timeout: must be positive, up to 1,000,000 (received 0)"),
        ("--timeout inf", "Argument --timeout: must be positive, up to 1,000,000 (received inf)"),
        ("--retry-for -1", "Argument --retry-for: must not be negative (received -1)"),
        ("--features a.npy", "Argument --features: must end in .npz (received a.npy)"),
        ("--features a.npz --json", "not allowed with"),
        ("--model-version 1 --label canary", "not allowed with"),
    ],
)
def test_flags_that_make_no_sense(flags, told, capsys):
    with pytest.raises(SystemExit) as ended:
        client.main(["photo.jpg", "--url", "http://localhost:1", *flags.split()])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize("place", ["folder.npz", "missing/features.npz"])
def test_a_file_of_features_that_cannot_be_written_is_told_before_anyone_is_asked(place, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match="Expected a file in an existing folder"):
        client.main(["photo.jpg", "--url", "http://localhost:1", "--features", str(tmp_path / place)])


def test_images_that_are_not_there():
    with pytest.raises(InputError, match="matches no file"):
        client.main(["missing.jpg", "--url", "http://localhost:1"])


# --- Servers that fail ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_too_large_is_named_and_does_not_take_others_with_it(protocol, base_path, images, expected, tmp_path, capsys):
    paths = [str(path) for path in sorted(images.iterdir())[:15]]
    rng = np.random.default_rng(2)
    large = tmp_path / "large.png"
    Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8)).save(large)  # noise, of which PNG makes nothing smaller
    paths.insert(6, str(large))
    with local_server.serving(base_path, max_bytes=8000) as small:
        assert client.main([*paths, "--url", getattr(small, protocol), "--json", "--batch", "16"]) == 2
    captured = capsys.readouterr()
    lines = [strictly(line) for line in captured.out.splitlines()]
    assert [line["image"] for line in lines] == paths
    assert all(same(top(line), expected[line["image"]]) for line in lines if line["image"] != str(large))
    reason = {"grpc": "RESOURCE_EXHAUSTED: ", "rest": "413 Request Entity Too Large: request of "}[protocol]
    assert lines[6]["error"].startswith(reason)
    report = report_of(captured.err)
    assert (report["failed"], report["retries"]) == (1, 0)
    assert report["requests"] == 9  # 16 refused, and of 8, 4, 2, 1 around the large one four refused and four answered


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_takes_too_long(protocol, base_path, images, capsys):
    arguments = [str(images / "000.png"), "--timeout", "0.3", "--retry-for", "0.8"]
    with local_server.serving(base_path, delay=1.5) as slow:
        assert client.main([*arguments, "--url", getattr(slow, protocol)]) == 2
    captured = capsys.readouterr()
    assert f"{images / '000.png'}: no response within 0.3 s\n" in captured.err
    assert captured.err.count("The server is slow (no response within 0.3 s); retrying for 0.8 s.") == 1
    assert report_of(captured.err)["retries"] >= 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_overlap(protocol, base_path, images, capsys):
    paths = [str(path) for path in sorted(images.iterdir())[:8]]
    arguments = [*paths, "--batch", "1", "--concurrency", "8", "--json"]
    with local_server.serving(base_path, delay=1) as slow:
        assert client.main([*arguments, "--url", getattr(slow, protocol)]) is None
    captured = capsys.readouterr()
    assert [strictly(line)["image"] for line in captured.out.splitlines()] == paths
    images_per_second = float(re.search(r"([\d.]+) images/s", captured.err)[1])
    assert images_per_second > 1.2  # one after the other it would be less than one, however fast the machine


class Command:
    """The client as a process of its own, with JSON."""

    def __init__(self, folder, server, protocol, *arguments):
        self.name = f"{protocol}-{'-'.join(arguments[1:])}"
        self._out, self._err = folder / f"{self.name}.out", folder / f"{self.name}.err"
        arguments = [*arguments, "--json", "--url", getattr(server, protocol)]
        self.process = WarmProcess("keras_vgg.client", arguments, self._out, errors=self._err)

    def wait_until_asking(self):
        deadline = time.monotonic() + 40
        while " serves " not in self._err.read_text():
            assert self.process.poll() is None, self._err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def finish(self, seconds):
        """Returns the exit code, the lines of JSON and the error stream."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.process.kill()
        return code, [strictly(line) for line in self._out.read_text().splitlines()], self._err.read_text()


def start_together(folder, server, *arguments):
    """Commands for every protocol that have begun to ask and still have much to do; those over gRPC take longer to come to it."""
    started = []
    for protocol in PROTOCOLS:
        commands = [Command(folder, server, protocol, *each) for each in arguments]
        for command in commands:
            command.wait_until_asking()
        started += commands
    return started


@pytest.fixture(scope="module")
def slow_process(base_path):
    """A server as a process of its own, whose answers take a fifth of a second longer."""
    with local_server.start(base_path, delay=0.2) as process:
        yield process


@pytest.mark.slow
def test_interrupted_it_ends_at_once(slow_process, images, tmp_path):
    commands = start_together(tmp_path, slow_process, [str(images), "--batch", "1"])
    slow_process.process.send_signal(signal.SIGSTOP)  # from now on it answers nothing, and the time-out is a minute
    time.sleep(0.3)
    for command in commands:
        command.process.send_signal(signal.SIGINT)
    for command in commands:
        code, lines, told = command.finish(10)
        assert code == 130, command.name
        assert len(lines) < 200
        assert "interrupted" in told
        assert "Traceback" not in told
    slow_process.process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_server_that_is_killed(slow_process, base_path, images, expected, tmp_path):
    """It comes back in time for some, over both protocols, and is away for good for the others."""
    flags = [str(images), "--batch", "2", "--concurrency", "2", "--retry-for"]
    commands = start_together(tmp_path, slow_process, [*flags, "50"], [*flags, "1"])
    patient, impatient = commands[::2], commands[1::2]
    time.sleep(0.5)
    slow_process.kill()
    for command in impatient:
        code, lines, told = command.finish(30)  # `--retry-for` once, not for each batch
        assert code == 2, told
        assert [line["image"] for line in lines] == list(expected), command.name
        assert all(same(top(line), expected[line["image"]]) for line in lines if "error" not in line)
        failed = [line["image"] for line in lines if "error" in line]
        assert failed  # all, where the machine was too busy to answer any before the kill
        named = [line.partition(": ") for line in told.splitlines() if line.startswith(str(images))]
        assert [path for path, _, _ in named] == failed
        assert all(re.match(r"(not sent, )?the server is unavailable: ", reason) for _, _, reason in named)
        assert report_of(told)["failed"] == len(failed)
    with local_server.start(base_path, grpc_port=slow_process.grpc_port, rest_port=slow_process.rest_port):
        for command in patient:
            code, lines, told = command.finish(50)
            assert code == 0, told
            assert [line["image"] for line in lines] == list(expected), command.name
            assert all(same(top(line), expected[line["image"]]) for line in lines)
            report = report_of(told)
            assert (report["images"], report["failed"]) == (200, 0)
            assert report["retries"] > 0
            assert 1 <= told.count("The server is unavailable (") <= 2, told  # twice if an answer was still under way


# --- What it costs --------------------------------------------------------------------------------------------------------


def test_rest_and_help_import_no_tensorflow(server, images):
    program = f"""if True:
        import sys
        from keras_vgg import client
        code = client.main([{str(images / "000.png")!r}, "--url", {server.rest!r}, "--json"])
        assert code is None, code
        print([name for name in ("tensorflow", "keras", "grpc") if name in sys.modules])
        client.main(["--help"])
    """
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE)
    answer, modules, *help = finished.stdout.splitlines()
    assert strictly(answer)["image"] == str(images / "000.png")
    assert modules == "[]"
    assert "--concurrency" in "".join(help)
