"""A model repository for NVIDIA's Triton Inference Server, around a file that was exported.

    DIR/NAME/config.pbtxt     what Triton reads, a `ModelConfig` in protobuf's text format
    DIR/NAME/labels.txt       a class a line, for its classification extension
    DIR/NAME/1/model.onnx     the file, unchanged

    device     platform           what computes
    cpu        onnxruntime_onnx   ONNX Runtime on the processor
    cuda       onnxruntime_onnx   its CUDA provider, TF32 off: the file needs float32
    tensorrt   tensorrt_plan      `model.plan`, which trtexec builds on the GPU that will run it:
                                  NAME/build-plan.sh is the command

A request is pixels, uint8 `[N, H, W, 3]`; Triton decodes no pictures. Requests wait at most
`DELAY_US` for others to be computed with, and are refused where `QUEUE` others wait.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snn_export.flags import LARGEST_BATCH, Device
from snn_runtime.errors import ResourceError, UsageError
from snn_runtime.files import write_atomic
from snn_runtime.graph import INPUT, OUTPUT, SpikingGraph
from snn_runtime.model_file import read_file
from snn_runtime.text import printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Of a model: a folder's name, and a part of Triton's URLs."""
SCRIPT, PLAN = "build-plan.sh", "model.plan"
DELAY_US = 500
QUEUE = 256
TIMEOUT_US = 1_000_000
"""Microseconds after which a request that still waits is refused."""


def write_repository(
    model: Path,
    directory: Path,
    *,
    name: str | None = None,
    device: Device = "cpu",
    batch: int = LARGEST_BATCH,
) -> Path:
    """Write the files of a model, each atomically; `config.pbtxt`, which Triton looks for, last.

    Args:
        model: A file of export-snn.
        directory: The repository; it may hold other models.
        name: Of the model; None takes the file's.
        batch: The most pictures of a batch.

    Returns:
        The model's folder.

    Raises:
        UsageError: `bad_flag`: a name that is no folder's, weights that TensorRT may not take.
        ModelError: The file is damaged, or no spiking network of export-snn.
        ResourceError: A file cannot be written.
    """
    graph, content = read_file(model).graph, model.read_bytes()
    if graph.packed and device == "tensorrt":
        raise UsageError(
            "bad_flag",
            f"{printable(str(model))}: its weights are int4, which trtexec is not known to take in "
            "a convolution; export it with --weights int8",
        )
    folder = model_folder(model, directory, name)
    script = plan_script(graph, batch).encode() if device == "tensorrt" else None
    _remove_stale(folder, content, script)
    write_atomic(folder / "1" / "model.onnx", content)
    write_atomic(folder / "labels.txt", "".join(f"{label}\n" for label in graph.labels).encode())
    if script is not None:
        write_atomic(folder / SCRIPT, script, executable=True)
    write_atomic(folder / "config.pbtxt", config(graph, folder.name, device, batch).encode())
    return folder


def model_folder(model: Path, directory: Path, name: str | None) -> Path:
    """Make the folder of a model in a repository, and return it. Arguments and errors are those of
    `write_repository`."""
    name = model.stem if name is None else name
    if not NAME.fullmatch(name):
        raise UsageError(
            "bad_flag",
            f"a model cannot be called {name!r}, expected letters, digits, '_', '.' and '-': name "
            "it with --triton-name",
        )
    folder = directory / name
    try:
        (folder / "1").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError("unwritable", f"{folder}: cannot make it: {reason}") from error
    return folder


@contextmanager
def reserved(model: Path, directory: Path, name: str | None) -> Iterator[None]:
    """Make the folder of a model before the work that would be lost. Where that work fails, nothing
    that was made for it stays: to Triton an empty version is a broken model."""
    version = directory / (model.stem if name is None else name) / "1"
    made = [folder for folder in (version, *version.parents) if not folder.exists()]
    model_folder(model, directory, name)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody has put something there
            for folder in made:
                folder.rmdir()
        raise


def _remove_stale(folder: Path, content: bytes, script: bytes | None) -> None:
    """Remove a plan of other weights or shapes, which would be served under the new labels, and the
    script that makes one where none is wanted."""
    model, plan, former = folder / "1" / "model.onnx", folder / "1" / PLAN, folder / SCRIPT
    try:
        if script is not None and model.exists() and former.exists():
            if model.read_bytes() == content and former.read_bytes() == script:
                return
        for old in (plan, former):
            old.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError("unwritable", f"{folder}: cannot be renewed: {reason}") from error


def config(graph: SpikingGraph, name: str, device: Device, batch: int) -> str:
    """Return a `ModelConfig` in protobuf's text format."""
    height, width = graph.image.height, graph.image.width
    pixels = f"data_type: TYPE_UINT8 dims: [{height}, {width}, 3]"
    platform = "tensorrt_plan" if device == "tensorrt" else "onnxruntime_onnx"
    kind = "KIND_CPU" if device == "cpu" else "KIND_GPU"
    lines = [
        f'name: "{name}"',
        f'platform: "{platform}"',
        f"max_batch_size: {batch}",
        f'input [{{ name: "{INPUT}" {pixels} }}]',
        f'output [{{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [{len(graph.labels)}] '
        'label_filename: "labels.txt" }]',
        f"instance_group [{{ count: 1 kind: {kind} }}]",
        f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY_US} default_queue_policy {{ "
        f"timeout_action: REJECT default_timeout_microseconds: {TIMEOUT_US} "
        f"max_queue_size: {QUEUE} }} }}",
        *(_warm_up(size, pixels) for size in dict.fromkeys((1, batch))),
    ]
    if device == "cuda":
        lines.append(
            'optimization { execution_accelerators { gpu_execution_accelerator [{ name: "cuda" '
            'parameters { key: "use_tf32" value: "0" } }] } }'
        )
    return "\n".join(lines) + "\n"


def plan_script(graph: SpikingGraph, batch: int) -> str:
    """Return the command that makes `model.plan` of `model.onnx`, as a shell script."""
    shape = f"x{graph.image.height}x{graph.image.width}x3"
    shapes = " ".join(
        f"--{which}Shapes={INPUT}:{size}{shape}"
        for which, size in (("min", 1), ("opt", batch), ("max", batch))
    )
    return (
        "#!/bin/sh\n"
        "# On the GPU that will run it, with the TensorRT of the server. Float32 alone is exact.\n"
        'cd "$(dirname "$0")/1" &&\n'
        f"exec trtexec --onnx=model.onnx --saveEngine=model.plan --noTF32 {shapes}\n"
    )


def _warm_up(size: int, pixels: str) -> str:
    """Pictures of noise that Triton shows a model before it is ready."""
    value = f'{{ key: "{INPUT}" value {{ {pixels} random_data: true }} }}'
    return f'model_warmup [{{ name: "batch of {size}" batch_size: {size} inputs {value} }}]'
