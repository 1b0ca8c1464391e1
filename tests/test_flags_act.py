"""What is accepted acts: with a flag, a command does something else than without it.

Every flag is tried here both ways, as far as the work that takes long; or a test is named that
holds the flag and shows what it does.
"""

import ast
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from flag_values import PARSERS, SYNTHETIC, VALUES, flag_of
from graphs import example
from PIL import Image

from snn_bench import experiment, workloads
from snn_export import exporting
from snn_runtime.command import run_command
from snn_runtime.doctor import checks, facts
from snn_runtime.engines.choice import make_backend
from snn_runtime.errors import InputError
from snn_runtime.model_file import write

TESTS = Path(__file__).parent
PHOTO = TESTS.parent / "runtime" / "photos" / "cat.jpg"
BUILDER = """
from snntorch import Leaky
from torch import manual_seed, nn
def build():
    manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    return nn.Sequential(nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(400, 2))
def other():
    return nn.Sequential(build(), nn.Linear(2, 2))
"""
FOREIGN = "weights.pt m.onnx --module net.py:build --image-size 12x12 --labels a,b --mean 0 --std 1"
LINES = {
    "snn-infer": "snn-infer cat.jpg",
    "snn-infer follow": "snn-infer photos",
    "snn-infer strict": "snn-infer frames.gif",
    "snn-infer precision": "snn-infer --backend tensorrt cat.jpg",
    "snn-bench": "snn-bench",
    "snn-bench topology": "snn-bench --topology vgg16 --width 0.05",
    **{f"snn-bench {name}": "snn-bench --topology resnet20 --width 0.05" for name in SYNTHETIC},
    "snn-doctor": "snn-doctor",
    "snn-serve": "snn-serve",
    "snn-serve tls_cert": "snn-serve --tls-key key.pem",
    "snn-serve tls_key": "snn-serve --tls-cert cert.pem",
    "snn-infer post": "snn-infer --on-label cat cat.jpg",
    "snn-serve on_label": "snn-serve --post http://127.0.0.1:9/",
    "snn-serve post": "snn-serve --on-label cat",
    "snn-serve trusted_proxy": "snn-serve --limit client_rate=5",
    "snn-serve plain_http": "snn-serve --host 0.0.0.0 --token-file token",
    "export-snn": f"export-snn {FOREIGN}",
    "export-snn dense": "export-snn weights.pt m.onnx",
}
"""The command line to which a flag is added, for the flags of a command that need another one."""
GIVEN = {
    "snn-infer model": "small.onnx",
    "snn-infer backend": "onnxruntime",
    "snn-infer on_label": "cat -- false",
    "snn-bench model": "small.onnx",
    "snn-doctor model": "small.onnx",
    "export-snn labels": "d,e",
    "export-snn framework": "spikingjelly",
    "export-snn module": "net.py:other",
}
"""Values that can be obeyed in the folder of these tests; else those of `VALUES`."""
NAMED: dict[str, dict[str, str]] = {
    "export-snn": {
        "data": "test_measures_accuracy_and_writes_it_into_the_file",
        "format": "test_measures_accuracy_and_writes_it_into_the_file",
        "calibrate": "test_a_file_that_exists_is_calibrated",
        "dt": "test_a_graph_whose_layers_never_fire_is_warned_of",
        "triton": "test_of_a_file_that_was_exported",
        "triton_name": "test_of_a_file_that_was_exported",
        "triton_device": "test_of_a_file_that_was_exported",
        "triton_batch": "test_of_a_file_that_was_exported",
    },
    "snn-bench": {"format": "test_csv_of_two_rates", "plot": "test_a_sweep_is_drawn"},
    "snn-infer": {
        "yes": "test_a_folder_is_sorted",
        "watch": "test_there_must_be_a_folder",
        "fps": "test_pictures_a_second",
        "every": "test_some_frames",
        "explain": "test_a_page_for_each_picture",
        "annotate": "test_pictures_are_written_with_their_labels",
        "camera_timeout": "test_a_frozen_camera_never_answers_twice",
        "camera_retries": "test_a_host_that_is_dead_is_tried_and_given_up",
    },
    "snn-doctor": {},
    "snn-serve": {
        "camera": "test_answers_to_a_camera",
        "allowed_host": "test_names_of_a_proxy",
    },
    "train-snn": {
        **dict.fromkeys(VALUES["train-snn"], "test_a_flag_ends_up_in_the_checkpoint"),
        "data": "test_pictures_are_fitted_as_asked",
        "budget": "test_the_command_that_does_it_again_is_printed",
        "resume": "test_an_old_run_is_never_overwritten",
        "out": "test_an_old_run_is_never_overwritten",
        "format": "test_json_lines_all_parse",
        "image_size": "test_pictures_are_fitted_as_asked",
        "fit": "test_pictures_are_fitted_as_asked",
        "spike_rate": "test_flags_end_up_in_the_checkpoint",
        "regulariser": "test_flags_end_up_in_the_checkpoint",
        "int_bits": "test_epochs_may_count_the_integer_stage",
        "begin_with": "test_files_and_data_that_do_not_fit_are_refused",
        "fine_tune": "test_the_command_teaches_a_trained_network_other_classes",
        "ann": "test_the_command_takes_an_ann",
        "teacher": "test_the_command_takes_a_teacher",
        "no_compile": "test_without_a_compiler_none_is_used",
        "compile": "test_the_steps_are_compiled_where_that_is_asked",
        "device": "test_a_gpu_that_is_not_there_is_refused",
        "precision": "test_a_precision_ends_up_in_the_checkpoint",
        "threads": "test_threads_and_device_are_obeyed",
    },
}
"""Tests elsewhere that show what a flag does."""
TRIED = [
    f"{command} {name}"
    for command in PARSERS
    for name in VALUES[command]
    if name not in NAMED[command]
]
CHANGING = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+|load average.*")
"""What differs from one run to the next."""


USUAL: dict[str, object] = {}
"""What is observed of each of the lines."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the command lines name."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("cat.jpg", "photos/cat.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PHOTO, folder / name)
    (folder / "photos" / "link.jpg").symlink_to(PHOTO)
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    red.save(folder / "frames.gif", save_all=True, append_images=[blue])
    write(example(), folder / "small.onnx")
    (folder / "names").write_text("frames.gif\n")
    (folder / "token").write_text("a token that is long enough")
    (folder / "net.py").write_text(BUILDER)
    scope: dict[str, Any] = {}
    exec(BUILDER, scope)
    torch.save(scope["build"]().state_dict(), folder / "weights.pt")
    return folder


@pytest.fixture
def observed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], object]:
    """Run a command line as far as the work that takes long, and return all that is seen of it."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("IIR_SNN_CACHE", str(place / "cache"))
    seen: list[object] = []

    def stop(*what: object) -> Any:
        seen.extend(what)
        raise InputError("stopped", "the work is left out")

    def recorded(file: Any, choice: Any) -> Any:
        seen.append(choice)
        return make_backend(file, choice)

    def check_all(*asked: object) -> Iterator[checks.Check]:
        seen.extend(asked)
        return iter(())

    monkeypatch.setattr("snn_runtime.model.make_backend", recorded)
    monkeypatch.setattr(checks, "check_all", check_all)
    monkeypatch.setattr(facts, "ALWAYS", {})
    monkeypatch.setattr(
        experiment,
        "measure",
        lambda work, plan, *_: stop(work.graph.digest(), work.images.sum(), work.rate, plan),
    )
    monkeypatch.setattr(
        exporting,
        "export",
        lambda network, path, **asked: stop(network.framework, asdict(network.picture), asked),
    )
    monkeypatch.setattr(workloads, "IMAGES", 16)
    monkeypatch.setattr("snn_serve.server.serve", stop)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)

    def run(line: str) -> object:
        command, *words = line.split()
        seen.clear()
        before = {*place.iterdir()}
        module = import_module(PARSERS[command])
        code = run_command(command, lambda: int(module.run(module.parse_args(words))))
        said = [CHANGING.sub("", text) for text in capsys.readouterr()]
        new = sorted(path.name for path in {*place.iterdir()} - before if path.is_file())
        for name in new:
            (place / name).unlink()
        return code, said, new, [*seen]

    return run


@pytest.mark.parametrize("which", TRIED)
def test_a_flag_changes_what_a_command_does(which: str, observed: Callable[[str], object]) -> None:
    command, name = which.split()
    flag = flag_of(name)
    line = LINES.get(which, LINES[command])
    words = line.split()
    if flag in words:
        del words[words.index(flag) : words.index(flag) + 2]
    other = [*words, flag, GIVEN.get(which, VALUES[command][name])]
    if line not in USUAL:
        USUAL[line] = observed(line)
        assert USUAL[line] == observed(line), "it differs by itself"
    assert USUAL[line] != observed(" ".join(other))


@pytest.mark.parametrize("command", VALUES)
def test_no_flag_is_left_out(command: str) -> None:
    """`VALUES` has every flag that the parser knows: see `test_every_flag_is_looked_at`."""
    tried = {which.split()[1] for which in TRIED if which.startswith(f"{command} ")}
    assert tried | NAMED[command].keys() == VALUES[command].keys()
    for name, test in NAMED[command].items():
        flag = flag_of(name)
        assert any(flag in text for text in texts_of(test)), (flag, test)


@cache
def texts_of(test: str) -> list[str]:
    """The text of every test of that name, and of what its module gives it by name."""
    found = []
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text()
        if f"def {test}(" not in text:
            continue
        given = {}
        for node in ast.parse(text).body:
            lines = ast.get_source_segment(text, node) or ""
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                given[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                given[node.targets[0].id] = lines
        words = set(re.findall(r"\w+", given[test]))
        found.append("\n".join(given[name] for name in given.keys() & words))
    return found
