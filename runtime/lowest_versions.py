"""Prints the lowest versions that pyproject.toml lets in, as constraints for pip.

    python runtime/lowest_versions.py > lowest.txt
    pip install --constraint lowest.txt iir-snn

Needs nothing but Python and pip's own copy of `packaging`, for the markers.
"""

import re
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(project: str) -> list[str]:
    """Return `name==version` for every dependency of the runtime that holds for this Python."""
    block = re.search(r"^dependencies = \[(.*?)^\]$", project, re.MULTILINE | re.DOTALL)
    if block is None:
        raise SystemExit(f"{PROJECT}: has no list of dependencies")
    pinned = []
    for text in re.findall(r'"([^"]+)"', block[1]):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            (floor,) = (s.version for s in requirement.specifier if s.operator == ">=")
            pinned.append(f"{requirement.name}=={floor}")
    return pinned


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lowest(PROJECT.read_text(encoding="utf-8"))))
