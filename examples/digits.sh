#!/bin/sh
# From nothing to a label: train on scikit-learn's scans of digits, export with proof, label a scan.
#
#     digits.sh                                  half a minute on two cores
#     digits.sh --epochs 4,8                     flags of train-snn
set -eu

train-snn --data digits --out digits "$@"
export-snn digits/t1.pt digits.onnx --data digits
python3 -c '
from PIL import Image
from sklearn.datasets import load_digits
scans = load_digits()
scan = (scans.images[0] * 255 / 16).round().astype("uint8")
Image.fromarray(scan).convert("RGB").save(f"a-{scans.target[0]}.png")
'
snn-infer --model digits.onnx a-0.png
