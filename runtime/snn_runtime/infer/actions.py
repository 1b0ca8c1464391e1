"""What is done with pictures that are labelled, beside printing."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from snn_runtime.answer import Answer
from snn_runtime.command import say
from snn_runtime.image import Limits
from snn_runtime.infer import PROGRAM
from snn_runtime.infer.sources import Source
from snn_runtime.model import Model
from snn_runtime.video.names import is_film, is_live

Action: TypeAlias = Callable[[Source, Answer], str]
"""Does something with a picture, and returns what to say about it, if anything."""


class Uninterrupted:
    """An action that is not left half done: an end of the command waits for it."""

    def __init__(self, act: Action) -> None:
        self._act = act
        self._lock = Lock()
        self._closed = False

    def __call__(self, source: Source, answer: Answer) -> str:
        with self._lock:
            return "" if self._closed else self._act(source, answer)

    def close(self) -> None:
        """Wait for the one that is on its way; no other begins."""
        with self._lock:
            self._closed = True


def _uninterrupted(act: Action, stack: ExitStack) -> Uninterrupted:
    made = Uninterrupted(act)
    stack.callback(made.close)
    return made


def actions(
    args: argparse.Namespace, model: Model, limits: Limits, stack: ExitStack
) -> Iterator[Action]:
    """Yield what the command line asks for, in this order; `stack` ends it."""
    if args.annotate is not None:
        from snn_runtime.infer.annotating import Film, Pictures

        path = Path(args.annotate)
        if is_film(args.annotate):
            film = Film(path, limits, args.crop)
            stack.callback(film.close)
            yield film
        else:
            yield _uninterrupted(Pictures(path, limits, args.crop), stack)
    if args.explain is not None:
        from snn_runtime.infer.explaining import Explaining

        yield _uninterrupted(Explaining(args.explain, model, limits, args.crop), stack)
    if args.on_label is not None:
        yield _on_label(args, model)
    if args.move_to is not None:  # last, for the others look for the picture where it was found
        from snn_runtime.infer.moving import Moving

        moving = Moving(args.move_to, model.labels, really=args.yes)
        stack.callback(lambda: say(f"{PROGRAM}: {moving.totals()}"))  # after the last one's end
        yield _uninterrupted(moving, stack)


def _on_label(args: argparse.Namespace, model: Model) -> Action:
    args.on_label.check(model.labels)
    if args.post is None:
        from snn_runtime.infer.running import Running

        return Running(args.on_label, args.command)
    from snn_runtime.infer.posting import Posting

    has_end = args.watch is None and not any(map(is_live, args.inputs))
    return Posting(args.on_label, args.post, waits=has_end)
