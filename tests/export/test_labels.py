"""`--labels`: names from the command line or a file, and new names for classes trained here."""

from pathlib import Path

import networks
import pytest
from commands import refusal

from snn_export.labels import labels_of
from snn_runtime.errors import UsageError
from snn_runtime.model import load

PERSIAN = "گربه\u200cها"


@pytest.fixture
def t1(tmp_path: Path) -> Path:
    described = networks.experiment("vgg5", size=(12, 12))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    return tmp_path / "t1.pt"


def test_classes_trained_here_get_the_names_given(t1: Path) -> None:
    model = t1.with_name("model.onnx")
    assert refusal([t1, model, "--labels", f"katt, {PERSIAN},👨\u200d👩\u200d👧"]) == (0, "")
    assert load(model).labels == ("katt", PERSIAN, "👨\u200d👩\u200d👧")
    named = t1.with_name("names.txt")
    named.write_bytes("\ufeffkatt\r\nNº\u00a05\r\n\r\nHund\r\n".encode())
    assert refusal([t1, model, "--labels", named]) == (0, "")
    assert load(model).labels == ("katt", "Nº\u00a05", "Hund")


def test_a_name_that_stands_twice_is_said(t1: Path) -> None:
    """ImageNet has two cranes; elsewhere it is a slip of the pen."""
    model = t1.with_name("model.onnx")
    said = "export-snn: warning: --labels: 'crane' is the name of 2 classes: 0, 2\n"
    assert refusal([t1, model, "--labels", "crane,heron,crane"]) == (0, said)
    assert load(model).labels == ("crane", "heron", "crane")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("a,b", "names 2 classes, the checkpoint has 3: cat, dog, frog"),
        ("a,b,c,d", "names 4 classes"),
        (",", "names nothing"),
        ("a,,b,c", "class 1 has no name"),
        ("a,b,\u202egnp", "U+202E, which makes it read as something else"),
    ],
)
def test_names_that_do_not_fit_are_a_matter_of_usage(t1: Path, labels: str, expected: str) -> None:
    code, said = refusal([t1, t1.with_name("model.onnx"), "--labels", labels])
    assert (code, said.count("\n")) == (2, 1) and expected in said
    assert not t1.with_name("model.onnx").exists()


def test_what_is_read_is_not_replaced(t1: Path) -> None:
    names = t1.with_name("names.txt")
    names.write_text("katt\nhund\ngroda\n")
    code, said = refusal([t1, names, "--labels", names])
    assert (code, names.read_text()) == (7, "katt\nhund\ngroda\n") and "names.txt: is read" in said


def test_a_list_may_be_longer_than_a_files_name() -> None:
    names = tuple(f"class number {number}" for number in range(1000))
    assert labels_of(",".join(names)) == names


def test_a_file_is_split_at_ends_of_lines_alone(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("a\x85b\nc\n")
    with pytest.raises(UsageError, match="U.0085"):
        labels_of(str(file))
    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(UsageError, match="is not text in UTF-8"):
        labels_of(str(file))
    file.write_bytes(b"x" * (2**22))
    with pytest.raises(UsageError, match="has 4,194,304 bytes"):
        labels_of(str(file))
