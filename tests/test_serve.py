"""`python -m keras_vgg.serve` as a user has it: asked by the client over both protocols, replaced under way, ended, and misused."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import local_server
import pytest
import requests
import small_served_model
from PIL import Image
from warm_process import WarmProcess

from keras_vgg import client, serve
from keras_vgg.errors import InputError
from keras_vgg.local_serving.ports import check_port
from keras_vgg.local_serving.servable import Servable
from keras_vgg.local_serving.server import serving
from keras_vgg.local_serving.versions import Versions

SECONDS = 60


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_served_model.save(tmp_path_factory.mktemp("models") / "vgg")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (4, 4), (200, 30, 60)).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_asked_replaced_and_ended(number, small, tmp_path, image, capsys):
    shutil.copytree(small / "1", tmp_path / "vgg" / "1")
    ports = local_server.free_port(), local_server.free_port()
    arguments = ["--model", str(tmp_path / "vgg"), "--port", str(ports[0]), "--rest-port", str(ports[1]), "--poll-seconds", "0.1"]
    process = WarmProcess("keras_vgg.serve", arguments, tmp_path / "output")
    try:
        urls = f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        process.wait_for("vgg version 1: serving_default", SECONDS)
        process.wait_for(
            f"gRPC at {urls[0]} and REST at {urls[1]}. For local testing, not for production. Press Ctrl-C to stop.", 5
        )
        shutil.copytree(small / "2", tmp_path / "vgg" / ".2")
        (tmp_path / "vgg" / ".2").rename(tmp_path / "vgg" / "2")
        process.wait_for("version 1 of vgg is no longer served", SECONDS)
        for url in urls:
            assert client.main([image, "--url", url, "--json"]) is None
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [answer["version"] for answer in answers] == [2, 2]
        assert answers[0]["top"] == answers[1]["top"]
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
    lines = process.output().splitlines()
    assert lines[2:] == [
        "version 2 of vgg is served",
        "version 1 of vgg is no longer served",
        "stopping once the requests in progress are answered",
    ]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_what_is_under_way_is_answered_at_the_end(protocol, small, image, monkeypatch, capsys):
    begun, predict = threading.Event(), Servable.predict

    def slowly(*arguments):
        begun.set()
        time.sleep(0.7)
        return predict(*arguments)

    monkeypatch.setattr(Servable, "predict", slowly)
    codes = []
    with serving(Versions(small, "vgg"), port=0, rest_port=0) as addresses:
        url = getattr(addresses, protocol)
        asking = threading.Thread(target=lambda: codes.append(client.main([image, "--url", url, "--retry-for", "0"])))
        asking.start()
        assert begun.wait(SECONDS)
    asking.join(SECONDS)
    assert codes == [None]
    with pytest.raises(InputError, match="Connection refused"):
        client.main([image, "--url", url])


def test_no_more_is_worked_on_at_a_time_than_there_are_processors(small, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    versions, at_once = Versions(small / "1", "vgg"), []
    lock, signatures = threading.Lock(), versions.newest._model.signatures

    class Counting(dict):
        def __getitem__(self, name):
            at_once.append(lock.acquire(blocking=False))
            time.sleep(0.05)
            lock.release()
            return signatures[name]

    versions.newest._model = type("Model", (), {"signatures": Counting(serving_default=None)})
    with serving(versions, port=None, rest_port=0) as addresses:
        assert addresses.grpc is None
        ask = [
            threading.Thread(
                target=requests.post,
                args=(f"{addresses.rest}/v1/models/vgg:predict",),
                kwargs={"json": {"instances": [[[[1, 2, 3]]]]}, "timeout": 20},
            )
            for _ in range(4)
        ]
        for each in ask:
            each.start()
        for each in ask:
            each.join()
    assert at_once == [True] * 4


@pytest.mark.parametrize("flag", ["--port", "--rest-port"])
def test_a_port_that_is_taken_is_told_at_once(flag, small):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = (
            rf"^Port {port} of 127\.0\.0\.1 is not available \(Address already in use\); "
            rf"stop the program that uses it, or pass another {flag}\.$"
        )
        with pytest.raises(InputError, match=told):
            serve.main(["--model", str(small), flag, str(port)])
        ports = {"port": 0, "rest_port": 0} | {flag[2:].replace("-", "_"): port}
        with (
            pytest.raises(InputError, match=rf"^Port {port} of 127\.0\.0\.1 is not available"),
            serving(Versions(small, "vgg"), **ports),
        ):
            pass  # somebody took it after the look
    check_port("127.0.0.1", port, flag=flag)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_here(host, small):
    with pytest.raises(
        InputError, match=rf"^`--host` must be an address of this machine, such as 127\.0\.0\.1\. Received: {host} "
    ):
        serve.main(["--model", str(small), "--host", host, "--port", "20001"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "65536"], "--port: must be a port number from 0 to 65535"),
        (["--port", "7000", "--rest-port", "7000"], "--port: is the same for gRPC and REST"),
        (["--port", "0", "--rest_api_port", "0"], "--port: disables both gRPC and REST"),
        (["--model_name", "a/b"], "--model-name: must be a name without /"),
        (["--label", "canary"], "--label: must be a label and a version, such as canary=2"),
        (["--poll-seconds", "nan"], "--poll-seconds: must be a number of seconds"),
    ],
)
def test_flags_out_of_bounds(arguments, told, small, capsys):
    with pytest.raises(SystemExit) as ended:
        serve.main(["--model_base_path", str(small), *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_what_is_no_export_is_told_before_tensorflow_is_imported(tmp_path):
    for name in ("run", "empty", "models/vgg/1"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("run/best.keras", "net.h5", "models/vgg/1/saved_model.pb"):
        (tmp_path / name).write_bytes(b"")
    received = {
        "run": "which must be exported first: python -m keras_vgg.export --model {0} --out models/vgg.",
        "net.h5": "which must be exported first: python -m keras_vgg.export --model {0} --out models/vgg.",
        "empty": "which has no versions; run python -m keras_vgg.export --model … --out {0}.",
        "models": "a folder of models; pass {0}/vgg.",
        "missing": "which does not exist.",
    }
    program = f"""if True:
        import sys
        from keras_vgg import errors, serve
        for name in {list(received)}:
            try:
                serve.main(["--model", {str(tmp_path)!r} + "/" + name])
            except errors.InputError as error:
                print(error)
        assert not {{"tensorflow", "keras", "grpc"}} & set(sys.modules)
    """
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for (name, told), line in zip(received.items(), finished.stdout.splitlines(), strict=True):
        path = str(tmp_path / name)
        assert line.startswith("`--model` must be a folder of numbered versions")
        assert line.endswith(f"Received: {path}, {told.format(path)}")


def test_over_ipv6(small):
    try:
        check_port("::1", 0, flag="--port")
    except InputError:
        pytest.skip("no IPv6 here")
    with serving(Versions(small, "vgg"), host="::1", port=0, rest_port=0) as addresses:
        assert re.fullmatch(r"http://\[::1\]:\d+", addresses.rest)
        assert requests.get(f"{addresses.rest}/v1/models/vgg", timeout=20).ok
