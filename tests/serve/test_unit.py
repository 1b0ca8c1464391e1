"""The systemd unit starts a server that there is, and grants it little."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import ROOT

from snn_serve.cli import parse_args
from snn_serve.limits import Limits

UNIT = ROOT / "runtime" / "snn_serve" / "snn-serve.service"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys are as written
    parser.read(UNIT)
    return parser["Service"]


def test_its_command_is_understood() -> None:
    program, *words = service()["ExecStart"].split()
    assert Path(program).name == "snn-serve"
    args = parse_args(words)
    assert (args.host, args.models) == ("127.0.0.1", Path("/var/lib/snn-serve"))


def test_it_waits_for_the_drain_and_leaves_room_for_connections() -> None:
    limits = Limits()
    assert int(service()["TimeoutStopSec"]) > limits.grace_seconds + limits.drain_seconds
    assert int(service()["LimitNOFILE"]) > 2 * limits.connections
    assert service()["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_systemd_takes_it(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/iir-snn/bin/snn-serve", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
