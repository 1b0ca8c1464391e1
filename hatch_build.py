"""Build hook: compiles the spike-driven engine into the wheel, or says why there is none.

`SNN_EVENT_BUILD=off` leaves the engine out, `SNN_EVENT_BUILD=require` fails where it cannot be
built. Without it the package is pure Python and runs networks in ONNX Runtime.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "runtime"))

import event_build  # noqa: E402  # beside the package it builds, which is not on the path before

SETTING = "SNN_EVENT_BUILD"
INSIDE_WHEEL = f"snn_runtime/engines/event/{event_build.LIBRARY}"


class EngineHook(BuildHookInterface[BuilderConfig]):
    """Called by hatchling before it packs a wheel, ordinary ("standard") or editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        setting = checked_setting(os.environ.get(SETTING, ""))
        editable = version == "editable"
        self._folder = tempfile.TemporaryDirectory(prefix="snn-event-")
        try:
            if setting == "off":
                raise event_build.BuildError(f"{SETTING} is off")
            library = _library(editable, Path(self._folder.name))
        except event_build.BuildError as error:
            if setting == "require":
                raise SystemExit(f"iir-snn: {error}, and {SETTING} is require") from error
            self.app.display_warning(f"iir-snn: no event engine, ONNX Runtime instead: {error}")
            if editable:
                event_build.remove()
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"
        if not editable:
            build_data["force_include"][str(library)] = INSIDE_WHEEL

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()


def checked_setting(value: str) -> str:
    """Return `value` if SNN_EVENT_BUILD may have it."""
    if value not in ("", "off", "require"):
        raise SystemExit(f"iir-snn: {SETTING} is {value!r}, expected off, require or nothing")
    return value


def platform_tag() -> str:
    """The last part of a wheel's name: `linux_x86_64`."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _library(editable: bool, folder: Path) -> Path:
    """Build where the sources are, which spares the next build; elsewhere if they are read-only."""
    if editable or os.access(event_build.SOURCES, os.W_OK):
        return event_build.build_in_place()
    event_build.build(folder / event_build.LIBRARY, event_build.find_compiler())
    return folder / event_build.LIBRARY
