"""What export-snn prints for people: the facts of `report`, on one screen."""

from typing import Any

from snn_runtime.graph import SpikingGraph
from snn_train.data.overview import TELLING

SHOWN = 5
"""Layers named in one line of warning."""

ELSEWHERE = {
    "onnxruntime": "on CPUs as it is, with CUDA use_tf32=0",
    "openvino": "EXECUTION_MODE_HINT=ACCURACY, or it computes in bfloat16 or float16 where it can",
    "tensorrt": "--noTF32, and none of --fp16, --bf16, --int8, --best",
}
"""Settings with which other runtimes compute the file in float32: docs/how-to/other-runtimes.md."""


def text(facts: dict[str, Any], path: str, graph: SpikingGraph) -> str:
    """The report for people."""
    lines = [f"{'population':<22}{'shape':>14}{'weights':>12}{'|current| ≤':>13}{'spikes':>9}"]
    for row in facts["layers"]:
        rate = "-" if row["spike_rate"] is None else f"{row['spike_rate']:.1%}"
        shape = "x".join(map(str, row["shape"]))
        marked = f"{row['bound']:,}" + (" " if row["fits_int16"] else "+")
        lines.append(f"{row['name']:<22}{shape:>14}{row['weights']:>12,}{marked:>13}{rate:>9}")
    if graph.exact:
        lines.append("+ beyond 16 bits: an engine must accumulate wider there")
    lines += _level_lines(facts) + _position_lines(facts) + _narrow_lines(facts)
    lines.append(
        f"\n{path}: {facts['file_bytes']:,} bytes, {facts['parameters']:,} parameters, "
        f"{_weights(facts)}, input {graph.image.height}x{graph.image.width} RGB, "
        f"{len(graph.labels)} labels"
    )
    proof = facts["proof"]
    lines.append(
        f"proven: checker passed, reads back to the same graph, {proof['spikes']:,} neurons of "
        f"{proof['images']} images fire alike in the exact interpreter and in ONNX Runtime"
    )
    settings = "; ".join(f"{runtime}: {setting}" for runtime, setting in ELSEWHERE.items())
    lines.append(f"in other runtimes, in float32 ({settings})")
    return "\n".join([*lines, *_stuck_lines(facts), *_parity_lines(facts), *_accuracy_lines(facts)])


def _level_lines(facts: dict[str, Any]) -> list[str]:
    """How many thresholds neurons have, where it is more than one."""
    levels = [row["levels"] for row in facts["layers"]]
    named = [
        f"{number} in {levels.count(number)} of {len(levels)} populations"
        for number in sorted(set(levels) - {1})
    ]
    return [f"thresholds of a neuron: {', '.join(named)}; every spike counts"] if named else []


def _position_lines(facts: dict[str, Any]) -> list[str]:
    """Which populations have more thresholds than channels, and why."""
    rows = [r for r in facts["layers"] if r["thresholds"] > r["shape"][0] * r["levels"]]
    return [
        f"{row['name']} has {row['thresholds']:,} thresholds, one a position: the mean is no whole "
        "grey level, and what is left of it is missing where padding lies over the border"
        for row in rows
    ]


def _narrow_lines(facts: dict[str, Any]) -> list[str]:
    """Which nodes have channels of coarser weights than the bits of the file."""
    return [
        f"{name}: {count:,} channels have coarser weights than {facts['weight_bits']} bits allow: "
        "sums over so many inputs must stay below 2^24"
        for name, count in facts["narrowed"].items()
    ]


def _stuck_lines(facts: dict[str, Any]) -> list[str]:
    """A warning for layers that do the same whatever the picture: proven, yet of little use."""
    proof = facts["proof"]
    cause = ""
    if "imported" in facts:
        cause = f"; are --mean, --std{', --dt' * (facts['imported'] == 'nir')} right?"
    lines = []
    for says, names in (("no neuron ever", proof["never"]), ("every neuron", proof["always"])):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(
                f"warning: {says} fires in {', '.join(names[:SHOWN])}{more} on the proof's "
                f"{proof['images']} images: such a layer tells no picture from another{cause}"
            )
    return lines


def _weights(facts: dict[str, Any]) -> str:
    if facts["weights"] == "int4":
        return "int4, two to a byte"
    narrow = facts["weight_bits"] < 8
    return f"int8 that fit {facts['weight_bits']} bits" if narrow else str(facts["weights"])


def _parity_lines(facts: dict[str, Any]) -> list[str]:
    if "parity" not in facts:
        return []
    if "imported" not in facts:
        return [_trained_line(facts["parity"])]
    parity, whose = facts["parity"], facts["imported"]
    against = f"{whose} itself" if facts["has_program"] else _as_read(whose)
    alone, running = (parity[key] / parity["spikes"] for key in ("layerwise", "running"))
    line = (
        f"against {against}, {parity['spikes']:,} neurons of {parity['images']} images: with "
        f"unrounded weights {parity['rounded']:,} differ, as float32 rounds; in this file "
        f"({facts['weights']}) {alone:.2%} differ where each layer is given the original's spikes, "
        f"{running:.2%} running by itself; same label for {parity['same_label']:.0%}"
    )
    return [line, *facts["notes"]]


def _trained_line(parity: dict[str, Any]) -> str:
    """How a file of train-snn compares; what int8 changes is in the accuracy."""
    rounded = parity["rounded"]
    which = f"all but {rounded:,} neurons, which float32 rounds," if rounded else "all neurons"
    return f"against the trained network: with unrounded weights {which} fire alike, layer by layer"


def _as_read(whose: str) -> str:
    return f"the layers as read (a file of {whose} holds no program to compare with)"


def _accuracy_lines(facts: dict[str, Any]) -> list[str]:
    accuracy = facts["accuracy"]
    if accuracy is None:
        return ["accuracy not measured, probabilities not calibrated: name the data with --data"]
    return [
        f"accuracy on {accuracy['images']:,} test images: trained {accuracy['trained']:.2%}, "
        f"exported {accuracy['exported']:.2%}, same answer for {accuracy['agreement']:.2%}",
        f"spikes received, weighted by the work they cause: {facts['spike_rate']:.1%}",
        *confidence_lines(facts["confidence"]),
    ]


def confidence_lines(facts: dict[str, Any]) -> list[str]:
    """What the probabilities are worth."""
    error = facts["calibration_error"]
    lines = [
        f"probabilities: temperature {facts['temperature']:g}, floor {facts['floor']:g}, fitted on "
        f"{facts['images']:,} {facts['source']}; calibration error on {facts['test_images']:,} "
        f"test images {100 * error['before']:.1f} points before, {100 * error['after']:.1f} after"
    ]
    lines.append(
        f"pictures unlike anything in training: {facts['kept']:.0%} of half of the fitted ones are "
        f"none; of the test images {facts['unfamiliar']:.1%} count as such"
        if facts["unfamiliar"] is not None
        else f"pictures unlike anything in training are not told: {facts['images']:,} are too few, "
        f"{TELLING} are needed"
    )
    if facts["learnt"]:
        lines.append(
            f"warning: {facts['accuracy']:.1%} of those pictures are right, and of the test images "
            f"{facts['test_accuracy']:.1%}: the network has learnt from them, so its probabilities "
            "promise too much"
        )
    return lines
