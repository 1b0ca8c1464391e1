"""How often snn-infer is right on a folder with one folder a class, read from what it prints.

snn-infer --format json --top-k 1 photos/test | python runtime/benchmarks/accuracy.py
"""

import json
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    answers = [json.loads(line) for line in sys.stdin]
    labelled = [answer for answer in answers if answer.get("ok")]
    pairs = [(Path(a["path"]).parent.name, a["predictions"][0]["label"]) for a in labelled]
    right = [truth == label for truth, label in pairs]
    sure = [ok for ok, answer in zip(right, labelled, strict=True) if not answer["unsure"]]
    unsure = [ok for ok, answer in zip(right, labelled, strict=True) if answer["unsure"]]
    print(f"{len(right):,} pictures, {sum(right):,} right: {sum(right) / len(right):.2%}")
    for name, group in (("sure", sure), ("unsure", unsure)):
        share = len(group) / len(right)
        print(f"{name}: {share:.1%} of the answers, {sum(group) / max(1, len(group)):.2%} right")
    classes = Counter(truth for truth, _ in pairs)
    for truth in sorted(classes):
        hits = sum(a == b == truth for a, b in pairs)
        wrong = Counter(label for actual, label in pairs if actual == truth != label)
        taken = ", ".join(f"{label} {count}" for label, count in wrong.most_common(2))
        print(f"{truth:<12} {hits / classes[truth]:7.1%}   most taken for: {taken}")


if __name__ == "__main__":
    main()
