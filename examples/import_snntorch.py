"""Train a network with snnTorch, write it to a proven file, and label with it, without snnTorch.

python import_snntorch.py            20 epochs on scikit-learn's digits, a few seconds
python import_snntorch.py 2
"""

import sys

import numpy as np
import snntorch
import torch
from sklearn.datasets import load_digits
from snntorch import utils
from torch import nn

import snn_export
import snn_runtime as snn

TRAINED_ON = 1400
"""Scans; the other 397 are labelled at the end."""


def build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        snntorch.Leaky(0.9, init_hidden=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
        snntorch.Leaky(0.9, init_hidden=True, output=True),
    )


def train(network: nn.Module, scans: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(scans)).split(64):
            utils.reset(network)
            _, membrane = network(scans[batch])  # one timestep
            loss = nn.functional.cross_entropy(membrane, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def main(epochs: int = 20) -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)  # [N, 8, 8]
    scans = torch.from_numpy(images[:TRAINED_ON, None]) / 255
    network = build()
    train(network, scans, torch.from_numpy(digits.target[:TRAINED_ON]), epochs)

    names = [str(digit) for digit in range(10)]
    imported = snn_export.import_network(
        network.eval(), labels=names, image_size=(8, 8), mean=0, std=1
    )
    exported = snn_export.export(imported, "digits.onnx")
    print(exported.text())

    model = snn.load("digits.onnx")
    coloured = np.repeat(images[TRAINED_ON:, :, :, np.newaxis], 3, axis=3)  # [N, 8, 8, 3]
    labels = np.array([answer.label for answer in model.classify(coloured)])
    right = np.mean(labels == digits.target[TRAINED_ON:].astype(str))
    print(f"{right:.1%} of {len(labels)} scans that it never saw")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
