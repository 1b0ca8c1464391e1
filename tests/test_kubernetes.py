"""What the files in docker/kubernetes/ say is true: of the published schemas (Kubernetes, KServe,
Kubeflow Trainer), of the images, and of a real snn-serve that is started with their arguments."""

import copy
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from serving import CAT, Running, started
from test_containers import DOCKER, final, instructions, stages, values

from snn_export.triton import write_repository
from snn_runtime.model import BUNDLED
from snn_serve.cli import parse_args
from snn_serve.limits import Limits, with_limits
from snn_train.flags import parse_args as train_args

ROOT = Path(__file__).parents[1]
PLACE = DOCKER / "kubernetes"
SCHEMAS = ROOT / "tests" / "kubernetes"
BUNDLED_FILE = ROOT / "runtime" / "snn_runtime" / BUNDLED
TOKEN = "0123456789abcdef0123"
FILES = sorted(PLACE.glob("*.yaml"))
SERVERS = ("snn-serve.yaml", "kserve-snn-serve.yaml")
MEBIBYTE = 2**20

MODELS = "/mnt/models"
"""Where KServe lays the files of a model: `DefaultModelLocalMountPath` in its constants."""
TRITON = {"triton", "onnx", "tensorrt"}
"""What its runtime kserve-tritonserver 0.20 calls the formats that are ours; its protocol is v2,
and its --model-store the folder above."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PLACE / name).read_text()))


def published() -> dict[str, Any]:
    """The schema of each kind, by its version and name."""
    read = [json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json"))]
    definitions = {k: v for each in read for k, v in each.get("definitions", {}).items()}
    kinds = {kind: schema for each in read for kind, schema in each["kinds"].items()}
    return {kind: schema | {"definitions": definitions} for kind, schema in kinds.items()}


PUBLISHED = published()


def faults(document: dict[str, Any]) -> list[str]:
    schema = PUBLISHED[f"{document['apiVersion']} {document['kind']}"]
    found = Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in found]


@dataclass(frozen=True)
class Served:
    """A pod that runs snn-serve, as a file describes it."""

    pod: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def words(self) -> list[str]:
        return list(self.container["args"])

    @property
    def limits(self) -> Limits:
        return with_limits(parse_args(self.words).limit)

    @property
    def port(self) -> int:
        (found,) = self.container["ports"]
        assert found["name"] == "http"
        return int(found["containerPort"])

    def here(self, folder: Path) -> list[str]:
        """The arguments, with a free port, and what is mounted in a folder of the test."""
        mounts = [each["mountPath"] for each in self.container["volumeMounts"]]
        words = []
        for word in self.words:
            for at, mount in enumerate([*mounts, MODELS]):
                word = word.replace(f"={mount}", f"={folder / str(at)}")
            words.append(re.sub(r"^--port=.*", "--port=0", word))
        (folder / "0").mkdir()
        (folder / "0" / "token").write_text(TOKEN)
        (folder / str(len(mounts))).mkdir()
        (folder / str(len(mounts)) / "photos.onnx").write_bytes(BUNDLED_FILE.read_bytes())
        return words


def served(name: str) -> Served:
    spec = documents(name)[0]["spec"]
    return Served(spec["predictor"] if "predictor" in spec else spec["template"]["spec"])


each_server = pytest.mark.parametrize("name", SERVERS)


@pytest.fixture(scope="module", params=SERVERS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Running]]:
    """What a file says, and a server that was started so; it can write no file at all."""
    told = served(request.param)
    words = told.here(tmp_path_factory.mktemp("mounted"))
    with started(words, "prlimit", "--fsize=0") as server:
        yield told, server


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_valid(path: Path) -> None:
    found = documents(path.name)
    assert found and [faults(each) for each in found] == [[]] * len(found)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("snn-serve.yaml", "spec.template.spec.containers.0.port", []),
        ("snn-serve.yaml", "spec.template.spec.containers.0.ports.0.containerPort", "8000"),
        ("snn-serve.yaml", "spec.template.spec.containers.0.livenessProbe.httpGet.port", None),
        ("snn-serve.yaml", "spec.replicas", "2"),
        ("kserve-snn-serve.yaml", "spec.predictor.containers.0.securityContext.user", 1),
        ("kserve-snn-serve.yaml", "spec.predictor.scaleMetric", "requests"),
        ("kserve-triton.yaml", "spec.predictor.model.modelFormat", "triton"),
        ("train.yaml", "spec.trainer.nodes", 2),
        ("train.yaml", "spec.runtimeRef.name", ""),
    ],
)
def test_what_is_wrong_is_refused(name: str, path: str, value: Any) -> None:
    document = copy.deepcopy(documents(name)[0])
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert faults(document)


def test_probes_are_answered(pair: tuple[Served, Running]) -> None:
    """As the kubelet asks: the pod's address as host, no token."""
    told, server = pair
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = told.container[name]["httpGet"]
        assert asked["port"] == "http" and set(asked) == {"path", "port"}
        assert server.ask(asked["path"], headers={"host": f"10.1.2.3:{told.port}"})[0] == 200


def test_pictures_are_for_those_with_the_token(pair: tuple[Served, Running]) -> None:
    _, server = pair
    token = {"authorization": f"Bearer {TOKEN}", "host": "snn-serve.default.svc"}
    assert server.ask("/predict", CAT.read_bytes(), {"host": "snn-serve"})[0] == 401
    answer = server.json("/predict", CAT.read_bytes(), token)
    assert answer["predictions"][0]["label"] == "cat"
    form = b"--x\r\ncontent-disposition: form-data; name=a; filename=a\r\n\r\n%s\r\n--x--"
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert server.json("/predict", form % CAT.read_bytes(), token | kind)["ok"]


def test_memory_is_enough_for_all_limits_together(pair: tuple[Served, Running]) -> None:
    """The kernel ends the whole pod where it is not."""
    told, server = pair
    ids = [server.process.pid, *server.decoders()]
    assert len(ids) == 1 + told.limits.decoders
    status = [Path(f"/proc/{each}/status").read_text() for each in ids]
    used = sum(int(*re.findall(r"VmHWM:\s+(\d+) kB", each)) * 1024 for each in status)
    worst = used + told.limits.held_bytes + told.limits.decoders * told.limits.decode_memory
    memory = told.container["resources"]["limits"]["memory"]
    assert memory.endswith("Mi") and worst < int(memory[:-2]) * MEBIBYTE


def test_the_end_is_in_time(pair: tuple[Served, Running]) -> None:
    told, server = pair  # whose last test this is
    limits = told.limits
    longest = limits.grace_seconds + limits.drain_seconds
    assert longest + 5 <= told.pod["terminationGracePeriodSeconds"]
    # A pod is taken off the list once its probe says so, which must be before it stops listening.
    ready = told.container["readinessProbe"]
    assert ready["timeoutSeconds"] < ready["periodSeconds"] <= limits.grace_seconds
    server.process.send_signal(signal.SIGTERM)
    server.until("draining")
    host = {"host": "10.1.2.3"}
    assert server.ask(told.container["readinessProbe"]["httpGet"]["path"], headers=host)[0] == 503
    assert server.ask(told.container["livenessProbe"]["httpGet"]["path"], headers=host)[0] == 200


@each_server
def test_the_image_is_run_as_it_is_made(name: str) -> None:
    told = served(name)
    bodies = {start.split(" AS ")[-1]: body for start, body in stages(DOCKER / "cpu.Dockerfile")}
    assert "command" not in told.container
    assert values(bodies["serve"], "ENTRYPOINT") == ['["snn-serve"]']
    (user,) = values(final(DOCKER / "cpu.Dockerfile"), "USER")
    security = told.pod["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert told.container["securityContext"]["readOnlyRootFilesystem"]
    assert parse_args(told.words).port == told.port
    assert told.container["resources"]["limits"]["cpu"] == "1"  # as many threads as it may use
    assert parse_args(told.words).threads is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_of_this_version(path: Path) -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    readme = (PLACE / "README.md").read_text()
    images = re.findall(r"image: (\S+)", path.read_text())
    assert bool(images) == (path.name != "kserve-triton.yaml")  # its image is KServe's
    for image in images:
        registry, name = image.split("/")
        assert registry == "registry.example" and name.endswith(f":{version}")
        assert f"-t {image}" in readme


def test_the_address_leads_to_the_pods() -> None:
    deployment, service = documents("snn-serve.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == "http"


def test_kserve_finds_what_it_looks_for() -> None:
    told = served("kserve-snn-serve.yaml")
    environment = {each["name"]: each["value"] for each in told.container["env"]}
    assert told.container["name"] == "kserve-container"
    assert environment["PROTOCOL"] == "v2" and environment["STORAGE_URI"].startswith("pvc://")
    assert str(parse_args(told.words).models) == MODELS


def test_triton_is_given_a_repository(tmp_path: Path) -> None:
    """The name that clients ask for, and the files that are looked for, are those of the folder."""
    model = documents("kserve-triton.yaml")[0]["spec"]["predictor"]["model"]
    assert model["modelFormat"]["name"] in TRITON and model["protocolVersion"] == "v2"
    (line,) = re.findall(r"onnx --triton (\w+)", (PLACE / "kserve-triton.yaml").read_text())
    assert model["storageUri"].endswith(f"/{line}")
    folder = write_repository(BUNDLED_FILE, tmp_path / line)
    assert (folder / "config.pbtxt").exists() and (folder / "1" / "model.onnx").exists()


def test_training_is_what_the_image_can_do() -> None:
    spec = documents("train.yaml")[0]["spec"]
    words = [*spec["trainer"]["command"], *spec["trainer"]["args"]]
    command = words.index("train-snn")
    assert words[0] == "torchrun" and words[command - 1] == "--no-python"
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in spec["trainer"]["env"]
    assert "--rdzv-endpoint=$(PET_MASTER_ADDR):$(PET_MASTER_PORT)" in words[:command]
    args = train_args(words[command + 1 :])
    assert args.out and not args.resume
    (patches,) = spec["runtimePatches"]
    (patch,) = patches["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = patch["template"]["spec"]["template"]["spec"]
    image = DOCKER / "train.Dockerfile"
    assert values(final(image), "USER") == [
        f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    ]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert values(final(image), "WORKDIR") == [mount["mountPath"]]
    assert any("torch" in rest for _, rest in instructions(image))
