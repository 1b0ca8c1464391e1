"""What `snn-doctor` prints, and the file that an owner of a board can send back."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from snn_runtime.doctor.checks import Check, fastest
from snn_runtime.doctor.facts import Facts
from snn_runtime.doctor.private import names_here, without
from snn_runtime.errors import DeviceError, VerifyError
from snn_runtime.proof.self_test import WRONG_FILE

SCHEMA = 1
"""Version of the JSON form: names are added, not changed."""
GIBIBYTE = 2**30


@dataclass(frozen=True)
class Examined:
    """The network that the engines were tried with."""

    name: str
    """`bundled` or `given`: where it lies is the owner's business."""
    digest: str
    golden: str
    """Hash of the spikes that the golden images cause: engines that pass the self-test have it."""
    size: str
    """Width and height of its images: `32x32`."""
    parameters: int
    int8: bool
    weight_bits: int
    """The fewest of 4, 6, 8 that hold every weight; 32 for float32."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that one run found."""

    version: str
    model: Examined
    facts: Facts
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        if any(check.self_test == "failed" for check in self.checks):
            return VerifyError.exit_code
        return 0 if any(check.works for check in self.checks) else DeviceError.exit_code

    def as_json(self) -> dict[str, Any]:
        """The stable form, without anything private.

        Names are taken out of sentences alone: a user may be called `cuda`, `cpu` or `nvidia`.
        """
        best, names = fastest(self.checks), names_here()
        folders = tuple(name for name in names if name.startswith("/"))
        return {
            "schema": SCHEMA,
            "version": self.version,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "model": asdict(self.model),
            "facts": without(self.facts.values, folders),
            "unknown": without(self.facts.unknown, names),
            "engines": [
                asdict(check) | {"reason": without(check.reason, names), "flags": check.flags}
                for check in self.checks
            ],
            "fastest": best and {"flags": best.flags, "milliseconds": best.milliseconds},
            "exit_code": self.exit_code,
        }

    def as_text(self) -> str:
        """For people."""
        value = self.as_json()
        lines = [f"snn-doctor {value['version']}, {value['date']}", *_facts(value)]
        lines += ["", *_engines(value["engines"], self.model), "", _advice(value)]
        return "\n".join(lines) + "\n"


def as_file(diagnosis: Diagnosis) -> bytes:
    """The JSON form to be read by people too."""
    return (json.dumps(diagnosis.as_json(), indent=2) + "\n").encode("ascii")


def _facts(value: dict[str, Any]) -> Iterator[str]:
    for group, facts in value["facts"].items():
        yield ""
        yield group
        for name, fact in facts.items():
            why = value["unknown"].get(f"{group}.{name}")
            shown = f"unknown: {why}" if why else _shown(name, fact)
            label = name.removesuffix("_bytes").replace("_", " ")
            yield f"  {label:<24}{shown}"


def _shown(name: str, fact: Any) -> str:
    if fact is None or isinstance(fact, bool):
        return {None: "none", True: "yes", False: "no"}[fact]
    if name.endswith("_bytes"):
        return f"{fact / GIBIBYTE:.1f} GiB"
    if isinstance(fact, dict):
        return ", ".join(f"{key} {item}" for key, item in fact.items()) or "none"
    if isinstance(fact, list):
        return " ".join(_shown("", item) for item in fact) or "none"
    return str(fact)


def _engines(engines: list[dict[str, Any]], model: Examined) -> Iterator[str]:
    weights = "int8" if model.int8 else "float32"
    if model.weight_bits < 8:
        weights += f" that fit {model.weight_bits} bits"
    yield (
        f"engines on the {model.name} model "
        f"({model.size}, {model.parameters / 1e6:.1f} M parameters, {weights})"
    )
    for engine in engines:
        name = f"{engine['backend']} on {engine['device']}"
        yield f"  {name:<24}{_outcome(engine)}"


def _outcome(engine: dict[str, Any]) -> str:
    if not engine["works"]:
        return f"no: {engine['reason']}"
    time = f"{engine['milliseconds']:.3g} ms a picture (median of {engine['runs']})"
    test = f"self-test {engine['self_test']}"
    why = f": {engine['reason']}" if engine["reason"] else ""
    return f"yes, {engine['details']}; {test}{why}; {time}; ready in {engine['load_seconds']:.2g} s"


def _advice(value: dict[str, Any]) -> str:
    codes = {engine["code"] for engine in value["engines"] if engine["self_test"] == "failed"}
    if codes == {WRONG_FILE}:
        return "The engines are right, the model's golden hash is wrong: export the model again."
    if codes:
        return "A self-test failed: that engine's answers are wrong here. Please report it."
    best = value["fastest"]
    if best is None:
        return "No engine works here: see the reasons above."
    return f"The fastest for one picture at a time: snn-infer {best['flags']}"
