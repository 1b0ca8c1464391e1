"""What the files in docker/ promise, read without a container engine."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
BAKE = (DOCKER / "docker-bake.hcl").read_text()
COMPILERS = re.compile(r"\b(g\+\+|gcc|clang|build-essential|cmake|nvcc|[\w-]+-devel)\b")

Instruction = tuple[str, str]


def instructions(path: Path) -> list[Instruction]:
    """Return what a Dockerfile says, comments left out and continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), " ".join(rest.split())) for name, rest in pairs]


def stages(path: Path) -> list[tuple[str, list[Instruction]]]:
    """Return each stage as what it starts from and what it then does; the first is the preamble."""
    found: list[tuple[str, list[Instruction]]] = [("", [])]
    for name, rest in instructions(path):
        if name == "FROM":
            found.append((rest, []))
        else:
            found[-1][1].append((name, rest))
    return found


def final(path: Path) -> list[Instruction]:
    """Return the last stage and those that it starts from, to the base image."""
    *earlier, (start, done) = stages(path)
    named = {header.split()[-1]: (header, body) for header, body in earlier if " AS " in header}
    while start.split()[0] in named:
        start, body = named[start.split()[0]]
        done = [*body, *done]
    return done


def values(found: list[Instruction], instruction: str) -> list[str]:
    return [rest for name, rest in found if name == instruction]


def arguments(path: Path) -> dict[str, str]:
    pairs = [rest.partition("=") for rest in values(stages(path)[0][1], "ARG")]
    return {name: value for name, _, value in pairs}


every = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def test_all_four_are_here() -> None:
    assert [path.name.split(".")[0] for path in DOCKERFILES] == ["cpu", "cuda", "jetson", "train"]


@every
def test_bases_can_be_given_and_are_pinned(path: Path) -> None:
    given = arguments(path)
    bases = {name: value for name, value in given.items() if "IMAGE" in name}
    assert "BASE_IMAGE" in bases
    named = [header.split(" AS ")[1] for header, _ in stages(path) if " AS " in header]
    for name, value in bases.items():
        if "${" in value:  # a stage of this file, which one an argument decides
            assert re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]], value) in named
            continue
        tag = value.rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag) and "latest" not in tag, f"{name} is {value}"
    for header, _ in stages(path)[1:]:
        source = header.split()[0]
        assert source in named or source.strip("${}") in bases, header


@every
def test_the_image_is_not_run_by_root(path: Path) -> None:
    (user,) = values(final(path), "USER")
    assert all(int(part) >= 10_000 for part in user.split(":"))


@every
def test_signals_reach_the_command(path: Path) -> None:
    """A shell in between would keep them."""
    (entry,) = values(final(path), "ENTRYPOINT")
    assert re.fullmatch(r'\["(snn-infer|train-snn)"\]', entry)
    assert not values(final(path), "CMD")
    assert values(final(path), "WORKDIR") == ["/data"]


@every
def test_the_image_holds_no_compiler_and_torch_only_for_training(path: Path) -> None:
    done = [rest for name, rest in final(path) if name in ("RUN", "COPY")]
    assert not [rest for rest in done if COMPILERS.search(rest)]
    everything = " ".join(rest for _, rest in instructions(path))
    if path.stem == "train":
        assert not COMPILERS.search(everything)
    else:
        assert "torch" not in everything and "[train" not in everything
        assert "SNN_EVENT_BUILD=require" in everything


@every
def test_what_is_copied_is_here_and_let_in(path: Path) -> None:
    allowed = [line[1:] for line in ignored() if line.startswith("!")]
    copied: list[str] = []
    for source in values(instructions(path), "COPY"):
        words = [word for word in shlex.split(source) if not word.startswith("--")]
        if "--from=" in source or words[0] == ".":
            continue
        copied += words[:-1]
    assert copied and all((ROOT / word).exists() and word in allowed for word in copied)


@every
def test_shells_stop_at_the_first_failure(path: Path) -> None:
    runs = values(instructions(path), "RUN")
    assert runs and all(run.startswith("set -eu; ") for run in runs)


def ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_nothing_goes_into_a_build_but_what_is_named() -> None:
    assert ignored()[0] == "*"
    allowed = [line[1:] for line in ignored() if line.startswith("!")]
    for name in allowed:
        assert (ROOT / name).exists()
    for secret in (".git", ".env", ".venv", "runs", "docker", "tests", "."):
        assert secret not in allowed
    assert {"**/__pycache__", "**/.*", "**/*.so", "**/*.stamp"} <= set(ignored())


def test_what_a_wheel_is_made_of_is_let_in() -> None:
    allowed = [line[1:] for line in ignored() if line.startswith("!")]
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"^packages = \[(.*)\]$", project, re.MULTILINE)
    assert packages is not None
    needed = re.findall(r'"([^"]+)"', packages[1])
    needed += re.findall(r'^"([^"]+)" = "share"$', project, re.MULTILINE)
    assert {*needed, "hatch_build.py", "pyproject.toml", "README.md", "LICENSE"} <= set(allowed)


def test_bake_builds_files_that_are_here() -> None:
    named = set(re.findall(r'"(docker/[^"]+)"', BAKE))
    assert named == {f"docker/{path.name}" for path in DOCKERFILES}
    assert '"linux/amd64", "linux/arm64"' in BAKE and 'arch = ["amd64", "arm64"]' in BAKE


def test_versions_are_pinned_once_for_each_python() -> None:
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(set(pins)) == len(pins)
    assert all(
        re.match(r"[\w-]+==[\d.]+(; python_version (<|>=) \"3\.11\")?$", pin) for pin in pins
    )
    names = {pin.partition("==")[0] for pin in pins}
    assert {"numpy", "onnx", "onnxruntime", "pillow", "hatchling"} <= names


def test_make_containers_names_what_bake_has() -> None:
    said = subprocess.run(
        ["make", "--dry-run", "containers"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "cpu-amd64 cpu-arm64" in said and "docker/cpu.Dockerfile" in said
    assert re.search(r"VERSION=\d+\.\d+\.\d+ ", said)


def test_the_stage_that_serves_probes_itself_and_is_not_the_last() -> None:
    found = {start.split(" AS ")[-1]: done for start, done in stages(DOCKER / "cpu.Dockerfile")}
    serve = found["serve"]
    assert values(serve, "ENTRYPOINT") == ['["snn-serve"]']
    (check,) = values(serve, "HEALTHCHECK")
    assert check.endswith('CMD ["snn-serve", "--probe"]')
    assert stages(DOCKER / "cpu.Dockerfile")[-1][0] == "runtime"
