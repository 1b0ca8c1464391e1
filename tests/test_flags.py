"""Every flag of every command that the command line alone tells to be without effect is refused in
that mode, and no other. The flags are those that the parsers know: a new one has to be added."""

import pytest
from flag_values import PARSERS, SYNTHETIC, VALUES, flag_of, parsed

from snn_export.flags import FOREIGN
from snn_runtime.engines.choice import Choice
from snn_runtime.errors import UsageError
from snn_train.choices import OF_THE_ANN, OF_THE_FILE
from snn_train.flags import OF_A_BEGINNING

OF_POSTS = {"on_label", "post"}
OF_CAMERAS = {"camera_timeout", "camera_retries"}
OF_FRAMES = {"fps", "every", *OF_CAMERAS}
OF_PICTURES = {
    *OF_FRAMES,
    *("top_k", "format", "strict", "follow", "max_pixels", "max_bytes", "shard", "resume", "yes"),
    *("only_label", "threshold", "crop", "annotate", "explain", "move_to", *OF_POSTS),
}
OF_A_MODEL = {"model", "backend", "device", "precision", "threads"}
OF_TRITON = {"triton_name", "triton_device", "triton_batch"}
OF_RESUMED = {"resume", "no_compile"}
DERIVED = {"pictures", "command"}
"""What snn-infer keeps beside its flags."""
MODES: list[tuple[str, set[str]]] = [
    ("train-snn --data digits", {*OF_RESUMED, "fine_tune", "image_size", "fit"}),
    ("train-snn --data cifar10", {*OF_RESUMED, "fine_tune", "image_size", "fit"}),
    ("train-snn --data mnist:folder", {*OF_RESUMED, "fine_tune", "image_size", "fit"}),
    ("train-snn --data imagefolder:photos", {*OF_RESUMED, "fine_tune"}),
    ("train-snn --data imagenet:photos", {*OF_RESUMED, "fine_tune"}),
    ("train-snn --data imagefolder:photos --from bundled", {*OF_THE_FILE, *OF_RESUMED, "ann"}),
    ("train-snn --data imagefolder:photos --ann ann.pt", {*OF_THE_ANN, *OF_RESUMED, "begin_with"}),
    (
        "train-snn --data digits --int-bits 4 --from t1.pt",
        {*OF_THE_FILE, *OF_RESUMED, "ann"},
    ),
    (
        "train-snn --data digits --int-bits 4 --from t1.pt --spiking-learning-rate 0.01",
        {*OF_THE_FILE, *OF_RESUMED, "ann", "learning_rate", "optimiser"},
    ),
    ("train-snn --resume begun", {*OF_A_BEGINNING}),
    ("export-snn t1.pt m.onnx", {"calibrate", *OF_TRITON}),
    ("export-snn t1.pt m.onnx --weights float32", {"calibrate", "int_bits", "dense", *OF_TRITON}),
    ("export-snn t1.pt m.onnx --triton r", {"calibrate", "dense"}),
    (
        "export-snn m.onnx --triton r",
        {"calibrate", "data", "dense", "int_bits", "labels", "threads", "weights", *FOREIGN},
    ),
    (
        "export-snn --dense ann.pt m.onnx",
        {"calibrate", "weights", "int_bits", "triton", *FOREIGN, *OF_TRITON},
    ),
    (
        "export-snn --calibrate m.onnx --data digits",
        {"weights", "int_bits", "dense", "labels", "triton", *FOREIGN, *OF_TRITON},
    ),
    ("snn-infer a.jpg", {"follow", "yes", "post", "watch", *OF_FRAMES}),
    ("snn-infer .", {"annotate", "explain", "yes", "post", "watch", *OF_FRAMES}),
    ("snn-infer a.jpg .", {"annotate", "explain", "yes", "post", "watch", *OF_FRAMES}),
    ("snn-infer -", {"follow", "resume", "yes", "post", "watch", "move_to", *OF_FRAMES}),
    ("snn-infer --files-from names", {"yes", "post", "watch", *OF_CAMERAS}),
    (
        "snn-infer --resume answers.jsonl a.jpg",
        {"follow", "format", "only_label", "yes", "post", "watch", *OF_FRAMES},
    ),
    (
        "snn-infer --only-label .",
        {"annotate", "explain", "top_k", "format", "resume", "yes", "post", "watch", *OF_FRAMES},
    ),
    ("snn-infer --move-to {label} .", {"annotate", "explain", "post", "watch", *OF_FRAMES}),
    ("snn-infer --watch inbox", {"yes", "post", "files_from", "shard", *OF_FRAMES}),
    (
        "snn-infer http://127.0.0.1/",
        {"follow", "yes", "post", "watch", "shard", "move_to", "every"},
    ),
    ("snn-infer camera:0", {"follow", "yes", "post", "watch", "shard", "move_to", "every"}),
    ("snn-infer film.mp4", {"follow", "yes", "post", "watch", "move_to", *OF_CAMERAS}),
    (
        "snn-infer --every 5 film.mp4",
        {"follow", "yes", "post", "watch", "move_to", "fps", *OF_CAMERAS},
    ),
    ("snn-infer --self-test", OF_PICTURES),
    ("snn-infer --clear-cache", {*OF_PICTURES, *OF_A_MODEL}),
    ("snn-bench", {*SYNTHETIC, "plot"}),
    ("snn-bench --topology vgg16", {"model"}),
    ("snn-bench --backends tensorrt", {*SYNTHETIC, "plot", "threads"}),
    ("snn-bench --backends tensorrt --against dnn", {*SYNTHETIC, "plot"}),
    ("snn-bench --against a.onnx dnn", {*SYNTHETIC}),
    ("snn-bench --topology vgg16 --against a.onnx", {"model", "plot"}),
    ("snn-doctor", set()),
    ("snn-serve", {"tls_cert", "tls_key", "plain_http", "trusted_proxy", *OF_POSTS}),
    ("snn-serve --limit client_rate=5", {*OF_POSTS, "tls_cert", "tls_key", "plain_http", "probe"}),
    (
        "snn-serve --tls-cert cert.pem --tls-key key.pem",
        {"plain_http", "trusted_proxy", *OF_POSTS, "probe"},
    ),
    (
        "snn-serve --model m.onnx",
        {"models", "tls_cert", "tls_key", "plain_http", "trusted_proxy", *OF_POSTS, "probe"},
    ),
    (
        "snn-serve --models folder",
        {"model", "tls_cert", "tls_key", "plain_http", "trusted_proxy", *OF_POSTS, "probe"},
    ),
    (
        "snn-serve --host 0.0.0.0 --plain-http --token-file token",
        {"tls_cert", "tls_key", "trusted_proxy", *OF_POSTS, "probe"},
    ),
    (
        "snn-serve --probe",
        {
            *OF_A_MODEL,
            "models",
            "token_file",
            "tls_key",
            "plain_http",
            "trusted_proxy",
            "allowed_host",
            "camera",
            "limit",
            "check",
            *OF_POSTS,
        },
    ),  # fmt: skip
    (
        "snn-infer --on-label cat --post http://127.0.0.1/ .",
        {"annotate", "explain", "yes", "watch", *OF_FRAMES},
    ),
    (
        "snn-serve --on-label cat --post http://127.0.0.1/",
        {"tls_cert", "tls_key", "plain_http", "trusted_proxy", "probe"},
    ),
]
"""A command line for every mode, and the flags that have no effect in it."""


@pytest.mark.parametrize(("line", "without_effect"), MODES)
def test_what_has_no_effect_is_refused_and_nothing_else(
    line: str, without_effect: set[str]
) -> None:
    parsed(line)
    refused, looked_at = set(), set()
    for name, value in VALUES[line.split()[0]].items():
        flag = flag_of(name)
        if flag in line.split():
            continue
        looked_at.add(name)
        try:
            parsed(f"{line} {flag} {value}")
        except UsageError:
            refused.add(name)
    assert refused == without_effect & looked_at


@pytest.mark.parametrize("command", PARSERS)
def test_every_flag_is_looked_at(command: str) -> None:
    line = next(line for line, _ in MODES if line.startswith(command))
    known = vars(parsed(line)).keys() - {"given", "version", "inputs", "checkpoint", *DERIVED}
    # The file that export-snn writes is a `model` that no flag names.
    assert VALUES[command].keys() == known - ({"model"} if command == "export-snn" else set())


def test_a_flag_given_with_its_default_counts_as_given() -> None:
    for flag in ("--width 1.0", "--fit crop", "--precision float32", "--recipe iir-bn"):
        with pytest.raises(UsageError, match="cannot change a run that goes on"):
            parsed(f"train-snn --resume begun {flag}")
    assert parsed("train-snn --data digits --width 1.0").given.keys() == {"data", "width"}


@pytest.mark.parametrize(("backend", "device"), [("tensorrt", "auto"), ("onnxruntime", "cuda")])
def test_threads_are_for_processors(backend: str, device: str) -> None:
    with pytest.raises(UsageError, match="for engines on the CPU"):
        Choice(backend, device, threads=3)


@pytest.mark.parametrize("command", PARSERS)
def test_a_flag_that_has_one_value_is_given_once(command: str) -> None:
    """Of two the first was dropped without a word; lists are those that their flags add up to."""
    line = next(line for line, _ in MODES if line.startswith(command))
    added = set()
    for name, value in VALUES[command].items():
        twice = f"{flag_of(name)} {value.partition(' ')[0]} " * 2
        if not value:
            continue  # a switch, which is on
        try:
            parsed(f"{command} {twice} {' '.join(line.split()[1:])}")
        except UsageError as error:
            if "is given twice, and has one value" in error.message:
                continue
        added.add(name)
    assert added <= {"against", "trusted_proxy", "allowed_host", "limit", "teacher"}
