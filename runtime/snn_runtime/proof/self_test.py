"""Whether an engine, on this machine, computes what the file was verified to compute."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import VerifyError
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.proof.agreement import follow, unexplained
from snn_runtime.proof.golden import golden_hash, golden_images

WRONG_FILE = "golden_hash"
"""Code of the error that blames the file and not the engine."""


def self_test(
    graph: SpikingGraph,
    golden: str,
    engine: str,
    spikes: Callable[[npt.NDArray[np.uint8]], Mapping[str, Spikes]],
    run: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
) -> None:
    """Judge an engine by the golden images.

    The hash of its spikes is enough where it is the file's. Where it is not, the reference tells
    whether the engine is wrong or the hash.

    Args:
        engine: what runs, for messages.
        spikes, run: the two ways through it.

    Raises:
        VerifyError: `self_test`: the engine is wrong; `golden_hash`: it is right, the file's hash
            belongs to another network.
    """
    images = golden_images(graph.image)
    fired = spikes(images)
    if graph.exact and golden_hash(fired) == golden:
        # The engine may compute spikes another way than logits: check the logits, too.
        if not follow(graph, fired, run(images)):
            raise _failed(engine, "the logits do not follow from the spikes")
        return
    counts = unexplained(graph, images, fired)
    wrong = next((name for name, count in counts.items() if count), None)
    if wrong is not None:
        raise _failed(engine, f"population {wrong} does not spike as it must")
    if not follow(graph, fired, run(images)):
        raise _failed(engine, "the logits do not follow from the spikes")
    if graph.exact:
        raise VerifyError(
            WRONG_FILE,
            f"the golden hash in the file belongs to other spikes, while {engine} spikes as the "
            "network must: the file was changed; export it again",
        )


def _failed(engine: str, why: str) -> VerifyError:
    return VerifyError("self_test", f"self-test failed on {engine}: {why}")
