"""A machine with a GPU and TensorRT, for tests that have neither: `fakes` first on the path."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from snn_runtime.engines.tensorrt import choice
from snn_runtime.engines.tensorrt.library import Request, find
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import run
from snn_runtime.proof.golden import golden_hash, golden_images

FAKES = Path(__file__).parent / "fakes"
MODULES = ("cuda", "cuda.bindings", "cuda.bindings.runtime", "tensorrt")
VERSIONS = ("8.6.2", "10.3.0", "10.13.3.9", "11.4.1")


class FakeGpu:
    """Handles of the fakes, and what they recorded."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch = patch
        self.cache = folder / "cache"
        self.log = folder / "built.jsonl"
        patch.syspath_prepend(str(FAKES))
        patch.setenv("IIR_SNN_CACHE", str(self.cache))
        patch.setenv("FAKE_TENSORRT_LOG", str(self.log))
        for name in MODULES:  # so that what was there before is there again afterwards
            patch.setitem(sys.modules, name, None)
        for name in ("FAKE_TENSORRT", "FAKE_TENSORRT_FAULT", "FAKE_TENSORRT_SLOW"):
            patch.delenv(name, raising=False)
        self.forget()

    @property
    def cuda(self) -> Any:
        return importlib.import_module("cuda.bindings.runtime")

    def become(self, **settings: str) -> None:
        """Set `version`, `fault` or `slow`, and import the fakes anew."""
        names = {"version": "FAKE_TENSORRT", "fault": "FAKE_TENSORRT_FAULT"}
        for setting, value in settings.items():
            self._patch.setenv(names.get(setting, "FAKE_TENSORRT_SLOW"), value)
        self.forget()

    def forget(self) -> None:
        for name in MODULES:
            sys.modules.pop(name, None)

    def build_here(self) -> None:
        """Build in this process: a child takes half a second."""

        def build(module: str, index: int | None, model: bytes, request: Request) -> bytes:
            return find(module).build(model, request)

        self._patch.setattr(choice, "build", build)

    def built(self) -> list[dict[str, Any]]:
        """What was built so far, in all processes."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def golden(graph: SpikingGraph) -> str:
    return golden_hash(run(graph, golden_images(graph.image)).spikes)
