"""What programs are told about a picture: a line of `--format json`, as a dict.

`records` makes them for engines that share the work among machines, such as Ray and Spark. So
their rows are those of the command.
"""

import base64
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from snn_runtime.answer import Answer
from snn_runtime.errors import InputError
from snn_runtime.image import read_file
from snn_runtime.infer import TOP_K
from snn_runtime.infer.sources import Source

if TYPE_CHECKING:
    from snn_runtime.model import Model

Record: TypeAlias = dict[str, object]


def records(
    model: "Model", sources: Sequence[Source], read: Callable[[str], bytes] = read_file
) -> list[Record]:
    """Label pictures in one batch, and return what is told about each, failed ones too.

    Args:
        read: returns the bytes of a picture by its name; its InputError is that picture's failure.
    """
    prepared = [source.prepared(model.prepare, read) for source in sources]
    good = [each for each in prepared if not isinstance(each, InputError)]
    answers = iter(model.answers(good, top=TOP_K))
    return [
        failed(source.name, each)
        if isinstance(each, InputError)
        else labelled(source.name, next(answers))
        for source, each in zip(sources, prepared, strict=True)
    ]


def labelled(name: str, answer: Answer) -> Record:
    return {**_named(name), "ok": True, **answer.record()}


def failed(name: str, error: InputError) -> Record:
    return {**_named(name), "ok": False, "error": {"code": error.code, "message": error.message}}


def _named(name: str) -> Record:
    """Return the fields that name a picture, whatever bytes its name has."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"path": name, "path_b64": base64.b64encode(os.fsencode(name)).decode()}
    return {"path": name}
