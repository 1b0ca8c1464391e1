"""Operators as functions of values: what ONNX Runtime computes of them, types, shapes, names."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_runtime.onnx_build import BATCH, ModelProto, Operators, Value


def run(model: ModelProto, **inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs: list[npt.NDArray[Any]] = session.run(None, inputs)
    return outputs


def line() -> ModelProto:
    op = Operators("line", version="1")
    x = op.input("x", np.float32, (BATCH, 3))
    ax = op.mul("ax", x, op.constant("a", np.array([2, 3, 5], np.float32)))
    return op.model(op.add("y", ax, op.constant("b", np.float32(1))))


def test_a_line() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(line(), x=x)[0], x * np.array([2, 3, 5], np.float32) + 1)


def test_bytes_depend_on_the_calls_alone() -> None:
    """Not on the onnx library: files and kept engines are compared with what it once made."""
    data = line().SerializeToString(deterministic=True)
    assert data == line().SerializeToString(deterministic=True)
    assert hashlib.sha256(data).hexdigest() == (
        "c24783ba256432383da74ff33570b1d15942fddd8b9471340b50543806fcf21d"
    )


def test_the_example_in_the_documents() -> None:
    page = Path(__file__).parents[3] / "docs" / "explanation" / "lowering.md"
    names: dict[str, Any] = {}
    exec(page.read_text().split("```python\n")[1].split("```")[0], names)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(names["model"], x=x)[0], run(line(), x=x)[0])


def everything(op: Operators) -> dict[str, Value]:
    """Every operator once, on maps of 2 × 6 × 5."""
    x = op.input("x", np.float32, (BATCH, 2, 6, 5))
    one, zero = op.constant("one", np.float32(1)), op.constant("zero", np.int8(0))
    half, ones = op.constant("half", np.float32(0.5)), np.ones((4, 1, 3, 2), np.float32)
    wide = op.concat("wide", [x, x], axis=1)
    kernel, bias = op.constant("kernel", ones), op.constant("bias", np.ones(4, np.float32))
    conv = op.conv("conv", x, kernel, bias, stride=(2, 1), pads=(1, 0, 2, 1), groups=2)
    flat = op.flatten("flat", conv)
    weight = op.constant("weight", np.ones((7, flat.shape[1]), np.float32))
    fires = op.greater("fires", x, half)
    stored = op.quantize("stored", x, one, zero)
    return {
        "wide": wide,
        "conv": conv,
        "flat": flat,
        "gemm": op.gemm("gemm", flat, weight),
        "fires": fires,
        "spikes": op.cast("spikes", fires, np.float16),
        "stored": stored,
        "read": op.dequantize("read", stored, half, zero),
        "turned": op.transpose("turned", x, (0, 2, 3, 1)),
        "most": op.max_pool("most", x, (3, 2), (3, 2)),
        "mean": op.average_pool("mean", x, (2, 2), (2, 2)),
        "rest": op.relu("rest", op.sub("less", x, half)),
        "ratio": op.div("ratio", x, op.mul("double", half, one)),
        "sum": op.add("sum", x, half),
        "least": op.minimum("least", x, half),
        "either": op.where("either", fires, half, x),
    }


def test_values_have_the_types_and_shapes_that_are_computed() -> None:
    op = Operators("everything")
    values = everything(op)
    x = np.random.default_rng(0).normal(0, 3, (5, 2, 6, 5)).astype(np.float32)
    results = run(op.model(*values.values()), x=x)
    for (name, value), result in zip(values.items(), results, strict=True):
        assert value.name == name
        assert (result.dtype, result.shape) == (np.dtype(value.dtype), (5, *value.shape[1:])), name
    made = dict(zip(values, results, strict=True))
    np.testing.assert_array_equal(made["spikes"], x > 0.5)
    np.testing.assert_array_equal(made["least"], made["either"])
    np.testing.assert_array_equal(made["read"], np.clip(np.rint(x), -128, 127) / 2)
    np.testing.assert_allclose(made["gemm"], made["flat"].sum(axis=1)[:, None].repeat(7, 1), 1e-4)


sizes = st.tuples(*[st.integers(1, 9)] * 2)
steps = st.tuples(*[st.integers(1, 3)] * 2)


@given(sizes, steps, steps, st.tuples(*[st.integers(0, 2)] * 4))
@settings(max_examples=60)
def test_shapes_of_convolutions(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> None:
    if any(n + pads[i] + pads[i + 2] < kernel[i] for i, n in enumerate(size)):
        return
    op = Operators("convolution")
    x = op.input("x", np.float32, (BATCH, 1, *size))
    ones = op.constant("ones", np.ones((2, 1, *kernel), np.float32))
    y = op.conv("y", x, ones, stride=stride, pads=pads)
    assert run(op.model(y), x=np.ones((3, 1, *size), np.float32))[0].shape == (3, *y.shape[1:])


def test_what_is_flat_stays_itself() -> None:
    op = Operators("flat")
    x = op.input("x", np.float32, (BATCH, 3))
    assert op.flatten("y", x) == x


def test_equal_calls_are_one_value() -> None:
    op = Operators("twice")
    x = op.input("x", np.float32, (BATCH, 3))
    one = [op.constant("one", np.float32(1)) for _ in "ab"]
    sums = [op.add("y", x, each) for each in one]
    model = op.model(sums[0])
    assert sums[0] == sums[1]
    assert len(model.graph.node) == 1 and len(model.graph.initializer) == 1


def test_a_name_is_not_given_to_two_values() -> None:
    op = Operators("twice")
    x = op.input("x", np.float32, (BATCH, 3))
    y = op.relu("y", x)
    with pytest.raises(AssertionError, match="two values are called y"):
        op.relu("y", y)
    op.constant("one", np.float32(1))
    with pytest.raises(AssertionError, match="two constants are called one"):
        op.constant("one", np.float32(2))


def test_outputs_are_chosen_at_the_end() -> None:
    op = Operators("outputs")
    x = op.input("x", np.uint8, (BATCH, 3))
    floats, bits = op.cast("floats", x, np.float32), op.cast("bits", x, np.bool_)
    assert [o.name for o in op.model(floats, bits).graph.output] == ["floats", "bits"]
    assert [o.name for o in op.model(bits).graph.output] == ["bits"]


def test_operators_of_another_domain_are_declared() -> None:
    op = Operators("domain")
    x = op.input("x", np.float32, (BATCH, 3))
    assert [o.domain for o in op.model(x).opset_import] == [""]
    op.node("Gelu", Value("y", np.float32, x.shape), x, domain="com.microsoft")
    assert [(o.domain, o.version) for o in op.model(x).opset_import] == [
        ("", 17),
        ("com.microsoft", 1),
    ]
