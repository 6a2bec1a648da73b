"""`recipes/serving` and the section "Serving" of BUILD.md, read as TensorFlow Serving, Kubernetes and a shell would read them.

Nothing is served. `tensorflow-serving-api` has the message of `models.config`. Those of the other two files are not in it; they are
made here of names, numbers and types in TensorFlow Serving's `session_bundle_config.proto` and `monitoring_config.proto`.
"""

import json
import pathlib
import re
import shlex

import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_vgg import client
from keras_vgg.data import formats
from keras_vgg.inference.batches import MAX_PIXELS

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "recipes" / "serving"
CONFIGS = ("batching.config", "models.config", "monitoring.config")
KUBERNETES_VERSIONS = ("1.30", "1.33")
PORTS = {"port": 8500, "rest_api_port": 8501}

FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "file_system_poll_wait_seconds",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "model_base_path",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "monitoring_config_file",
    "per_process_gpu_memory_fraction",
    "port",
    "rest_api_num_threads",
    "rest_api_port",
    "rest_api_timeout_in_ms",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
}
"""Those of `tensorflow_model_server` that we use, as in `model_servers/main.cc` and `server.h` of tensorflow/serving."""

BATCHING_PARAMETERS = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "allowed_batch_sizes": (6, "repeated int64"),
    "pad_variable_length_inputs": (7, "bool"),
    "enable_large_batch_splitting": (8, "BoolValue"),
    "max_execution_batch_size": (9, "Int64Value"),
}
PROMETHEUS_CONFIG = {"enable": (1, "bool"), "path": (2, "string")}
MONITORING_CONFIG = {"prometheus_config": (1, "PrometheusConfig")}


def made(name, **messages):
    """The class of the message `name`; `messages` are `{field: (number, type)}`."""
    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": field_type.TYPE_INT64, "bool": field_type.TYPE_BOOL, "string": field_type.TYPE_STRING}
    package, wrappers = "tensorflow.serving", wrappers_pb2.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(name="made.proto", package=package, syntax="proto3", dependency=[wrappers.name])
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            label = field_type.LABEL_REPEATED if kind.startswith("repeated ") else field_type.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            kind = kind.removeprefix("repeated ")
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type_name = f".{package}.{kind}" if kind in messages else f".google.protobuf.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


MESSAGES = {
    "batching.config": made("BatchingParameters", BatchingParameters=BATCHING_PARAMETERS),
    "models.config": model_server_config_pb2.ModelServerConfig,
    "monitoring.config": made("MonitoringConfig", PrometheusConfig=PROMETHEUS_CONFIG, MonitoringConfig=MONITORING_CONFIG),
}


def written(name):
    return (FOLDER / name).read_text(encoding="ascii")  # the server's flags say "ascii"


def read(name):
    return text_format.Parse(written(name), MESSAGES[name]())


def served_model():
    (model,) = read("models.config").model_config_list.config
    return model


def resources():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")))


def resource(kind):
    return next(item for item in resources() if item["kind"] == kind)


def pod():
    return resource("Deployment")["spec"]["template"]


def container():
    (only,) = pod()["spec"]["containers"]
    return only


def section():
    """The section "Serving" of BUILD.md."""
    _, _, rest = (ROOT / "BUILD.md").read_text(encoding="utf-8").partition("\n## Serving\n")
    return rest.partition("\n## ")[0]


def shell_commands():
    """Words of each command in the section's code, without comments."""
    blocks = re.findall(r"^```\n(.*?)^```$", section(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").replace("|\n", "|").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def docker_runs():
    return [words for words in shell_commands() if words[:2] == ["docker", "run"]]


def option_values(words, option):
    return [words[place + 1] for place, word in enumerate(words) if word == option]


def flags_of(words):
    """`{flag: value}` of the server's flags; those without a value are "true"."""
    flags = {}
    for word in words:
        assert word.startswith("--"), word
        name, _, value = word.removeprefix("--").partition("=")
        assert name not in flags, name
        flags[name] = value or "true"
    return flags


def image_place(words):
    return next(place for place, word in enumerate(words) if word.startswith("tensorflow/serving:"))


def servers():
    """Flags of every server that the recipes start."""
    return [flags_of(container()["args"]), *(flags_of(words[image_place(words) + 1 :]) for words in docker_runs())]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("batching.config", "max_batchsize { value: 1 }"),
        ("batching.config", "max_batch_size: 1"),
        ("batching.config", "allowed_batch_sizes { value: 1 }"),
        ("models.config", 'model_config_list { config { labels { key: "stable" value: 1 } } }'),
        ("monitoring.config", "prometheus_config: true"),
    ],
)
def test_mistakes_are_refused(name, text):
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text, MESSAGES[name]())


def test_labels_name_versions_that_are_served():
    model = served_model()
    assert (model.base_path, model.model_platform) == ("/models/vgg", "tensorflow")
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}
    assert set(model.version_labels.values()) == set(model.model_version_policy.specific.versions)
    assert all("allow_version_labels_for_unavailable_models" in flags for flags in servers())


def test_client_asks_for_the_model_that_is_served(capsys):
    with pytest.raises(SystemExit):
        client.main(["--help"])
    assert f"(default: {served_model().name})" in capsys.readouterr().out


def is_sound(batching):
    """What the server and our signatures ask of batching parameters beyond their types."""
    return (
        batching.max_batch_size.value > 0
        and batching.num_batch_threads.value > 0
        and batching.max_enqueued_batches.value > 0
        and not batching.pad_variable_length_inputs  # would change the scores
        and not batching.allowed_batch_sizes  # would have the net look at copies
        and not batching.enable_large_batch_splitting.value  # would join score maps of unlike size
    )


def test_batching_parameters_fit_each_other():
    batching = read("batching.config")
    assert is_sound(batching)
    waiting = 2 * batching.num_batch_threads.value * batching.max_batch_size.value
    for flags in servers():
        for kind in ("grpc_max_threads", "rest_api_num_threads"):
            assert int(flags.get(kind, waiting)) >= waiting, "fewer threads than that never fill a batch"


def test_batching_parameters_for_gpus_fit_each_other():
    advice = "\n".join(re.findall(r"^#   (.*)$", written("batching.config"), re.MULTILINE))
    assert is_sound(text_format.Parse(advice, MESSAGES["batching.config"]()))


def test_metrics_are_where_they_are_said_to_be():
    prometheus = read("monitoring.config").prometheus_config
    assert prometheus.enable
    annotations = pod()["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == prometheus.path
    assert annotations["prometheus.io/port"] == str(PORTS["rest_api_port"])
    assert f"localhost:{PORTS['rest_api_port']}{prometheus.path}" in section()


def test_every_server_has_known_flags_and_the_usual_ports():
    assert len(servers()) == 3
    for flags in servers():
        assert set(flags) <= FLAGS
        assert {name: int(flags[name]) for name in PORTS} == PORTS
        assert "enable_batching" in flags, "a file of batching parameters alone is an error"


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_every_field(version):
    for item in resources():
        kubernetes_validate.validate(item, version, strict=True)


def test_kubernetes_schemas_refuse_mistakes():
    deployment = resource("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[0], strict=True)


def test_config_map_holds_the_files():
    assert resource("ConfigMap")["data"] == {name: written(name) for name in CONFIGS}


def test_pod_mounts_what_its_server_reads():
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    assert volumes["config"]["configMap"]["name"] == resource("ConfigMap")["metadata"]["name"]
    assert volumes["models"]["persistentVolumeClaim"] == {
        "claimName": resource("PersistentVolumeClaim")["metadata"]["name"],
        "readOnly": True,
    }
    flags = flags_of(container()["args"])
    files = {pathlib.PurePosixPath(flags[name]) for name in flags if name.endswith("_file")}
    assert files == {pathlib.PurePosixPath(mounts["config"]["mountPath"], name) for name in resource("ConfigMap")["data"]}
    assert pathlib.PurePosixPath(served_model().base_path).parent == pathlib.PurePosixPath(mounts["models"]["mountPath"])
    assert mounts["models"]["readOnly"]
    assert mounts["config"]["readOnly"]


def test_probes_and_services_lead_to_open_ports():
    flags = flags_of(container()["args"])
    open_ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert open_ports == {"grpc": int(flags["port"]), "rest": int(flags["rest_api_port"])}
    for probe in ("startupProbe", "readinessProbe"):
        assert container()[probe]["httpGet"] == {"path": f"/v1/models/{served_model().name}", "port": "rest"}
    assert container()["livenessProbe"]["tcpSocket"]["port"] in open_ports
    for service in (item["spec"] for item in resources() if item["kind"] == "Service"):
        for port in service["ports"]:
            assert port["port"] == open_ports[port["targetPort"]]


def test_everything_means_the_same_pods():
    labels, deployment = pod()["metadata"]["labels"], resource("Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert all(item["spec"]["selector"] == labels for item in resources() if item["kind"] == "Service")
    autoscaler = resource("HorizontalPodAutoscaler")["spec"]
    assert autoscaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"], "the autoscaler sets them"
    assert resource("PodDisruptionBudget")["spec"]["minAvailable"] < autoscaler["minReplicas"], "no node could be drained"
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_limits_hold_requests_and_net_d():
    def amount(quantity):
        number, unit = re.fullmatch(r"(\d+)(Gi|Mi|)", quantity).groups()
        return int(number) * {"Gi": 2**30, "Mi": 2**20, "": 1}[unit]

    requests, limits = container()["resources"]["requests"], container()["resources"]["limits"]
    assert set(requests) == set(limits) == {"cpu", "memory"}
    assert all(amount(requests[name]) <= amount(limits[name]) for name in requests)
    weights = 4 * 138_357_544
    versions = len(served_model().model_version_policy.specific.versions)
    loaded = 2.2e9 + (versions - 1) * weights  # the peak of one, and the weights of the others
    image = 2 * 4 * 64 * MAX_PIXELS + 3 * formats.MAX_PIXELS  # what a convolution of block 1 takes and gives; the decoded file
    assert amount(requests["memory"]) > loaded
    assert amount(limits["memory"]) > loaded + 2 * read("batching.config").num_batch_threads.value * image
    assert int(flags_of(container()["args"])["tensorflow_intra_op_parallelism"]) == amount(limits["cpu"])
    assert amount(resource("PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"]) > 8 * weights


def test_pod_lives_as_long_as_its_requests():
    _, seconds = container()["lifecycle"]["preStop"]["exec"]["command"]
    time_out = int(flags_of(container()["args"])["rest_api_timeout_in_ms"]) / 1000
    assert time_out <= int(seconds) < pod()["spec"]["terminationGracePeriodSeconds"]


def test_pod_may_do_little():
    security = {**pod()["spec"]["securityContext"], **container()["securityContext"]}
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_docker_mounts_what_the_server_reads():
    for words in docker_runs():
        mounts = {}
        for mount in option_values(words[: image_place(words)], "--mount"):
            fields = dict(field.partition("=")[::2] for field in mount.split(","))
            assert fields["type"] == "bind"
            assert "readonly" in fields
            mounts[fields["target"]] = fields["source"].removeprefix("$PWD/")
        assert mounts == {served_model().base_path: f"models/{served_model().name}", "/config": "recipes/serving"}
        flags = flags_of(words[image_place(words) + 1 :])
        for path in (pathlib.PurePosixPath(flags[name]) for name in flags if name.endswith("_file")):
            assert (ROOT / mounts[str(path.parent)] / path.name).is_file()


def test_docker_publishes_both_ports_and_starts_the_pinned_server():
    assert len(docker_runs()) == 2
    for words in docker_runs():
        options = words[: image_place(words)]
        assert option_values(options, "-p") == [f"{port}:{port}" for port in PORTS.values()]
        assert option_values(options, "--entrypoint") == container()["command"]
        assert words[image_place(words)].removesuffix("-gpu") == container()["image"]
        assert words[image_place(words)].endswith("-gpu") == ("--gpus" in options)


def test_text_names_only_flags_that_there_are():
    ours = {"batch", "label", "model", "no-dense", "out", "url"}  # of tools/benchmark.py, keras_vgg.export and keras_vgg.client
    ours |= {"calibrate", "calibration-images", "format", "labelled", "quantize"}  # of keras_vgg.export
    ours |= {"host", "model-name", "rest-port"}  # of keras_vgg.serve
    dockers = {"entrypoint", "gpus", "init", "mount", "name", "rm"}
    text = section() + "".join(written(name) for name in CONFIGS)
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z_-]*)", text))
    assert named - ours - dockers <= FLAGS


def test_addresses_lead_to_the_model_and_its_labels():
    model = served_model()
    paths = re.findall(r"localhost:8501(/[^\s`]*)", section())
    assert paths
    for path in paths:
        of_model = re.fullmatch(rf"/v1/models/{model.name}(?:/labels/(\w+))?(?::predict)?", path)
        assert of_model or path == read("monitoring.config").prometheus_config.path
        assert not of_model or of_model[1] is None or of_model[1] in model.version_labels
    (named,) = re.findall(r"`request\.(model_spec\.version_label = \"\w+\")`", section())
    spec = model_pb2.ModelSpec(version_label=named.split('"')[1])
    assert spec.version_label in model.version_labels


def test_body_of_the_rest_request():
    (words,) = (words for words in shell_commands() if words[:1] == ["printf"])
    body = json.loads(words[1] % "aW1hZ2U=")
    assert body == {"signature_name": "classify", "instances": [{"b64": "aW1hZ2U="}]}
    assert "base64 -w0" in words[2], "line breaks are not allowed in JSON strings"
