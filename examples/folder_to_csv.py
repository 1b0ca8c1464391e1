"""Label all pictures of a folder into a table, with the time at which each was taken from its file.

    python folder_to_csv.py photos answers.csv

A picture that cannot be read gets a row that says why, and the others are labelled all the same.
(`snn-infer --format csv photos` does it in one line, if you need no column of your own.)
"""

import csv
import sys
from datetime import datetime
from pathlib import Path

import snn_runtime as snn
from snn_runtime.errors import InputError

COLUMNS = ("file", "taken", "label", "probability", "unsure", "remarks")


def row(model: snn.Model, path: Path) -> tuple[object, ...]:
    taken = datetime.fromtimestamp(path.stat().st_mtime).isoformat(timespec="seconds")
    try:
        answer = model.classify(path)
    except InputError as error:
        return path.name, taken, "", "", "", error.code
    remarks = "; ".join(answer.warnings)
    return path.name, taken, answer.label, f"{answer.probability:.4f}", answer.unsure, remarks


def main(folder: Path, table: Path) -> None:
    model = snn.load()
    pictures = sorted(path for path in folder.iterdir() if path.is_file())
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row(model, path) for path in pictures)
    print(f"{len(pictures)} rows in {table}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
