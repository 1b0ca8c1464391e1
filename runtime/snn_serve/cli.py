"""The command `snn-serve`: the flags, what they may not be together, and the two checks."""

import argparse
import http.client
import ipaddress
import json
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from snn_runtime.addresses import reason_of
from snn_runtime.command import run_command, say
from snn_runtime.condition import address, condition
from snn_runtime.door import read
from snn_runtime.errors import BusyError, InputError, UsageError
from snn_runtime.flags import Further, Parser, Rule, add_engine, whole_number
from snn_serve import PROGRAM
from snn_serve.hangup import Hangup
from snn_serve.limits import Limits, with_limits

EXAMPLES = """examples:
  snn-serve                               the bundled model on http://127.0.0.1:8000
  snn-serve --models models/              every models/NAME.onnx under its name
  snn-serve --host 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem
  snn-serve --camera camera:0             answers to a camera at /stream, and on the page
  snn-serve --allowed-host board.example  behind a proxy of that name on this machine
  snn-serve --limit queue=16 body_seconds=5
  snn-serve --on-label 'cat>0.8' --post https://example.org/cats
  snn-serve --check --models models/      would it start? load and prove all models, then end
  snn-serve --probe                       is the one that runs here ready?
  curl --data-binary @cat.jpg http://127.0.0.1:8000/predict

SIGHUP reads the models again; one that does not prove itself leaves the old one in place. SIGTERM
answers what has begun, then ends with 0. Limits and their defaults: docs/reference/serving.md."""

SHORTEST_TOKEN = 16

RULES = (
    Rule(("tls_key",), lambda args: args.tls_cert, "is for --tls-cert, and there is none"),
    Rule(("tls_cert",), lambda args: args.tls_key or args.probe, "needs --tls-key"),
    Rule(("models",), lambda args: not args.model, "and --model exclude each other"),
    Rule(("post",), lambda args: args.on_label or args.probe, "is for --on-label"),
    Rule(("on_label",), lambda args: args.post or args.probe, "needs --post and an address"),
    Rule(
        ("trusted_proxy",),
        lambda args: with_limits(args.limit).client_rate,
        "says who is a client, and without --limit client_rate=N clients are not counted",
    ),
    Rule(
        ("plain_http",),
        lambda args: not _is_loopback(args.host) and not args.tls_cert,
        "is for another address than loopback, and without --tls-cert",
    ),
    Rule(
        ("model", "models", "backend", "device", "precision", "threads", "limit", "token_file",
         "tls_key", "plain_http", "trusted_proxy", "allowed_host", "camera", "on_label", "post",
         "check"),
        lambda args: not args.probe,
        "is for a server, and --probe starts none",
    ),
)  # fmt: skip


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    parser = Parser(PROGRAM, "Answer pictures over HTTP.", EXAMPLES, RULES)
    add = parser.add_argument
    add("--model", type=Path, metavar="PATH", help="model.onnx (default: the bundled one)")
    add("--models", type=Path, metavar="DIR", help="several: every NAME.onnx of a folder")
    add_engine(parser)
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s")
    add("--port", type=whole_number(0, 65535), default=8000, metavar="N",
        help="0 is any that is free (default: %(default)s)")  # fmt: skip
    add("--token-file", type=Path, metavar="PATH",
        help="whose text clients send as Authorization: Bearer TEXT")  # fmt: skip
    add("--tls-cert", type=Path, metavar="PATH", help="certificate chain, PEM")
    add("--tls-key", type=Path, metavar="PATH", help="its key, PEM")
    add("--plain-http", action="store_true",
        help="no TLS on an address that is not loopback: a proxy adds it")  # fmt: skip
    add("--trusted-proxy", nargs="+", action=Further, type=_address, default=[], metavar="ADDRESS",
        help="of proxies whose X-Forwarded-For names the client, for client_rate")  # fmt: skip
    add("--allowed-host", nargs="+", action=Further, type=_host, default=[], metavar="NAME",
        help="under which a proxy passes browsers on, as board.example")  # fmt: skip
    add("--limit", nargs="+", action=Further, default=[], metavar="NAME=VALUE",
        help="see docs/reference/serving.md")  # fmt: skip
    add("--camera", metavar="SOURCE",
        help="answers to it are at /stream: camera:0, csi:0, rtsp://… or http://…")  # fmt: skip
    add("--on-label", type=condition, metavar="LABEL>P",
        help="post such answers: --on-label 'cat>0.8' --post http://…")  # fmt: skip
    add("--post", type=address, metavar="URL", help="where to, as JSON; no answer waits for it")
    add("--check", action="store_true", help="load and prove all models, then end")
    add("--probe", action="store_true", help="ask the server at --host and --port if it is ready")
    args = parser.read(argv)
    if not args.probe:
        _check_reach(args)
    return args


def run(args: argparse.Namespace, hangup: Hangup | None = None) -> int:
    """Do what the command line says and return the exit code."""
    if hangup is not None and (args.probe or args.check):
        hangup.end()
    if args.probe:
        return _probe(args)
    limits: Limits = with_limits(args.limit)
    token = None if args.token_file is None else _token(args.token_file)
    # Not before, so that --help needs no package of the extra.
    from snn_serve.hook import Subscription
    from snn_serve.models import Source
    from snn_serve.server import Place, loaded, serve
    from snn_serve.stream import reading

    source = Source(
        args.model, args.models, args.backend, args.device, args.precision, args.threads
    )
    place = Place(
        args.host,
        args.port,
        token,
        args.tls_cert,
        args.tls_key,
        tuple(args.trusted_proxy),
        frozenset(args.allowed_host),
    )
    camera = None if args.camera is None else reading(args.camera, limits.camera_rate)
    subscription = None if args.post is None else Subscription(args.on_label, args.post)
    if not args.check:
        return serve(source, place, limits, camera, subscription, hangup)
    place.check_tls()
    for name, model in loaded(source, subscription).items():
        say(f"{PROGRAM}: model {name} proved itself ({model.engine})")
    place.opened().close()
    say(f"{PROGRAM}: would listen on {place.scheme}://{args.host}:{args.port}")
    return 0


def main() -> int:
    """Run `snn-serve`."""
    return run_command(PROGRAM, _heeding_sighup)


def _heeding_sighup() -> int:
    hangup = Hangup()  # before all that takes time
    return run(parse_args(None), hangup)


def _address(text: str, wanted: str = "an IP address, such as 127.0.0.1") -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def _host(text: str) -> str:
    if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", text.lower()):
        return text.lower()
    return _address(text, "a name or an address, such as board.example, without port")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UsageError("usage", f"--host {host}: expected an IP address") from None


def _check_reach(args: argparse.Namespace) -> None:
    """Strangers are kept out: where others can reach the server they need a token, unseen."""
    if _is_loopback(args.host):
        return
    if args.token_file is None:
        raise UsageError("usage", f"--host {args.host} can be reached by others: give --token-file")
    if args.tls_cert is None and not args.plain_http:
        raise UsageError(
            "usage",
            f"--host {args.host} would send the token unencrypted: give --tls-cert and --tls-key, "
            "or --plain-http where a proxy adds TLS",
        )


def _token(path: Path) -> str:
    try:
        text = read(path, 4096).decode("ascii").strip()
    except InputError as error:
        raise UsageError("bad_token", f"--token-file {path}: {error.message}") from error
    except UnicodeDecodeError:
        text = ""
    if len(text) < SHORTEST_TOKEN or not text.isprintable() or " " in text:
        raise UsageError(
            "bad_token",
            f"--token-file {path}: expected one word of ASCII, at least {SHORTEST_TOKEN} "
            "characters; openssl rand -hex 32 makes one",
        )
    return text


def _probe(args: argparse.Namespace) -> int:
    """Ask a running server.

    Raises:
        BusyError: `not_ready`.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(args.host, args.host)
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if args.tls_cert else "http"
    url = f"{scheme}://{shown}:{args.port}/v2/health/ready"
    # Whose certificate it is has been settled: this asks an address of our own, and sends nothing.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=5) as answer:
            if json.load(answer) == {"ready": True}:
                return 0
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BusyError("not_ready", f"{url}: {reason_of(error)}") from error
    raise BusyError("not_ready", f"{url}: no snn-serve answers there")


if __name__ == "__main__":
    sys.exit(main())
