"""The lowest versions that pyproject.toml lets in have no known holes, and images meet them."""

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:  # brought by pytest
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LAST_BAD = {
    "onnx": "1.20.1",
    "pillow": "12.2.0",
    "torch": "2.9.1",
    "scikit-learn": "1.4.2",
    "tqdm": "4.66.2",
    "h5py": "3.15.1",
    "starlette": "0.49.0",
    "python-multipart": "0.0.25",
}
"""The last version with a hole that a stranger's bytes can reach, for each package that has one."""


def needed(python: str) -> dict[str, Requirement]:
    """What a Python of this version is to have: for the runtime and the extras that read files."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["train"], *extras["nir"], *extras["serve"]]
    wanted = [Requirement(line) for line in lines]
    here = [each for each in wanted if _applies(each, python)]
    assert len({each.name for each in here}) == len(here)
    return {each.name: each for each in here}


def _applies(requirement: Requirement, python: str) -> bool:
    return not requirement.marker or requirement.marker.evaluate({"python_version": python})


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.14"])
def test_no_version_with_a_known_hole_is_let_in(python: str) -> None:
    floors = needed(python)
    for name, version in LAST_BAD.items():
        assert not floors[name].specifier.contains(version), name
    # Pillow 12.3 is the last for Python 3.10.
    assert floors["pillow"].specifier.contains("12.3.0") is (python == "3.10")


@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_what_images_pin_is_what_we_ask_for(python: str) -> None:
    lines = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {p.name: str(p.specifier)[2:] for p in pins if _applies(p, python)}
    floors = needed(python)
    # torch comes with an index of its own; nothing in an image reads NIR.
    assert floors.keys() - pinned.keys() == {"torch", "nir", "h5py"}
    for name in floors.keys() & pinned.keys():
        assert floors[name].specifier.contains(pinned[name]), name
