"""Columns of text, as wide as their widest cell."""

from collections.abc import Collection, Iterator, Sequence


def aligned(cells: Sequence[Sequence[str]], left: Collection[str]) -> Iterator[str]:
    """Yield a line a row; the first row are the headings, of which `left` are of words."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = [
            cell.ljust(width) if heading in left else cell.rjust(width)
            for cell, width, heading in zip(line, widths, cells[0], strict=True)
        ]
        yield "  ".join(padded).rstrip()
