"""What a wheel brings for shells and man: it is what the parsers say, and it works in them."""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest
from flag_values import VALUES, flag_of
from pages import MAINS

from shell_commands import Command, commands
from shell_files import SHARE, files

STALE = "a flag changed, and the files made of it did not: run `make shell`"
COMMANDS = {command.name: command for command in commands()}
BASH = """
source "$1" && shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"_${1//-/_}" && printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
PS1=ready KEYTIMEOUT=1
fpath=({share}/zsh/site-functions $fpath)
autoload -U compinit && compinit -u -D
finish() {{ print -rn -- "$BUFFER" > finished; exit }}
zle -N finish && bindkey '^T' finish
"""
LINES = [
    ("snn-infer --form", "--format"),
    ("snn-infer --format j", "json"),
    ("snn-infer --model mo", "model.onnx"),
    ("snn-infer --watch p", "photos/"),
    ("snn-infer --every 2 ca", "cat.jpg"),
    ("snn-infer cat.jpg my", "my dog.jpg"),
    ("snn-infer --device cuda:1 --backend onn", "onnxruntime"),
    ("snn-bench --against dnn mo", "model.onnx"),
    ("snn-bench --against dnn --pl", "--plot"),
    ("snn-serve --limit queue=5 --limit keep=1 body_s", "body_seconds="),
    ("train-snn --data dig", "digits"),
    ("train-snn --data imagefolder:ph", "photos/"),
    ("train-snn --from bun", "bundled"),
    ("export-snn t1.pt mo", "model.onnx"),
    ("export-snn t1.pt model.onnx --from spi", "spikingjelly"),
    ("snn-doctor --js", "--json"),
]
"""What is typed, and the one thing that goes on from its last word."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with files to be completed, and commands of our names."""
    (tmp_path / "photos").mkdir()
    for name in ("model.onnx", "my dog.jpg", "cat.jpg", "mask.png"):
        (tmp_path / name).touch()
    for name in MAINS:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed here")
    return path


def said(place: Path, *command: str, **environment: str) -> str:
    """What a program writes, which has nothing to complain of."""
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "HOME": str(place), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(
        command,
        cwd=place,
        env={**settings, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_files_are_what_the_parsers_say() -> None:
    found = {str(path.relative_to(SHARE)): path for path in SHARE.rglob("*") if path.is_file()}
    made = files()
    assert sorted(found) == sorted(made), STALE
    assert [name for name in made if found[name].read_text("utf-8") != made[name]] == [], STALE
    assert COMMANDS.keys() == MAINS.keys()


@pytest.mark.parametrize("name", VALUES)
def test_every_flag_is_everywhere(name: str) -> None:
    """Those that other tests count, so that none is lost while parsers are read."""
    flags = {flag_of(value) for value in VALUES[name]} | {"--help", "--version"}
    page = (SHARE / f"man/man1/{name}.1").read_text().replace("\\-", "-")
    bash = (SHARE / f"bash-completion/completions/{name}").read_text()
    zsh = (SHARE / f"zsh/site-functions/_{name}").read_text()
    fish = (SHARE / f"fish/vendor_completions.d/{name}.fish").read_text().split()
    offered = bash.partition("words='-h ")[2].partition("'")[0].split()
    assert flags == set(offered) == {flag.names[-1] for flag in COMMANDS[name].flags}
    for flag in flags:
        assert f"\n\\fB{flag}\\fR" in page or f", \\fB{flag}\\fR" in page
        assert any(f"{flag}{mark}" in zsh for mark in "[=}")
        assert flag[2:] in fish


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_who_takes_files_is_known(command: Command) -> None:
    for flag in (*command.flags, *command.arguments):
        named = any(word in flag.value for word in ("PATH", "FILE", "DIR", "FOLDER"))
        assert not named or flag.files or flag.folders, flag


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_bash_completes(line: str, expected: str, place: Path) -> None:
    words = line.replace("=", " = ").replace(":", " : ").split()  # as bash parts them
    script = SHARE / "bash-completion" / "completions" / words[0]
    printed = said(place, needs("bash"), "-c", BASH, "bash", str(script), *words)
    assert [name.rstrip("/") for name in printed.splitlines()] == [expected.rstrip("/")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--format", "="], {"text", "json", "csv"}),
        (["--format", "=", "c"], {"csv"}),
        (["--model", ""], {"model.onnx", "photos", "bin"}),
        (["--every", ""], set()),
        (["--", "--mo"], set()),
    ],
)
def test_bash_knows_where_it_is(words: list[str], expected: set[str], place: Path) -> None:
    script = SHARE / "bash-completion" / "completions" / "snn-infer"
    printed = said(place, needs("bash"), "-c", BASH, "bash", str(script), "snn-infer", *words)
    assert set(printed.split()) == expected


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_fish_completes(line: str, expected: str, place: Path) -> None:
    data = {"XDG_DATA_DIRS": str(SHARE), "XDG_CONFIG_HOME": str(place / "config")}
    printed = said(place, needs("fish"), "-c", "complete -C $argv[1]", line, **data)
    before = re.sub(r"[^:]*$", "", line.split()[-1])
    assert [text.split("\t")[0] for text in printed.splitlines()] == [before + expected]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_zsh_completes(line: str, expected: str, place: Path) -> None:
    """Typed at a terminal: zsh completes nowhere else. Ctrl-T has it write what stands there."""
    (place / ".zshrc").write_text(ZSH.format(share=SHARE))
    keyboard, terminal = os.openpty()
    # The first terminal that is opened in a session of its own is the session's.
    started = f"exec {needs('zsh')} -d -i < {os.ttyname(terminal)} > {os.ttyname(terminal)} 2>&1"
    environment = {"PATH": os.environ["PATH"], "ZDOTDIR": str(place), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        ["/bin/sh", "-c", started],
        cwd=place,
        env={**environment, "TERM": "dumb"},
        start_new_session=True,
    ) as shell:
        shown = b""
        while b"ready" not in shown:
            assert select.select([keyboard], [], [], 60)[0], shown
            shown += os.read(keyboard, 4096)
        os.write(keyboard, f"{line}\t\x14".encode())
        assert shell.wait(60) == 0
    os.close(terminal)
    os.close(keyboard)
    whole = re.sub(r"[^ :]*$", "", line) + expected.replace(" ", "\\ ")
    assert (place / "finished").read_text().rstrip(" =") == whole.rstrip("=")


@pytest.mark.parametrize("name", MAINS)
def test_a_page_is_right_for_groff_and_mandoc(name: str, place: Path) -> None:
    page = str(SHARE / "man" / "man1" / f"{name}.1")
    for device in ("utf8", "ascii"):
        said(place, needs("groff"), "-ww", "-man", f"-T{device}", page)
    assert said(place, needs("mandoc"), "-T", "lint", "-W", "warning", page) == ""


@pytest.mark.parametrize("name", MAINS)
def test_a_page_says_what_help_says(name: str, place: Path) -> None:
    page = str(SHARE / "man" / "man1" / f"{name}.1")
    shown = said(place, needs("man"), "--warnings", "-l", page, MANWIDTH="100")
    headings = "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"
    assert [line for line in shown.splitlines() if line in headings] == [*headings]
    *_, others = shown.partition("SEE ALSO")
    assert {other for other in MAINS if f"{other}(1)" in others} == MAINS.keys() - {name}
    examples = COMMANDS[name].epilog.partition("\n\n")[0].splitlines()[1:]
    for line in examples:  # as they are, not filled
        assert f"\n     {line}".replace("…", "...") in shown
