"""Label the frames of a camera or a film, and print a line whenever the label changes.

    ffmpeg -loglevel error -i /dev/video0 -f rawvideo -pix_fmt bgr24 - | python camera.py 640 480
    … | python camera.py 640 480 model.onnx

Frames come as raw bytes, pixel by pixel: blue, green, red, as OpenCV has them. They are handed to
the network as they are: `classify` crops and resizes them as the network was trained.
"""

import sys

import numpy as np

import snn_runtime as snn


def main(width: int, height: int, file: str | None) -> None:
    model = snn.load(file) if file else snn.load()
    number, shown = 0, ""
    while len(data := sys.stdin.buffer.read(height * width * 3)) == height * width * 3:
        frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        answer = model.classify(frame, colour="bgr")
        label = "?" if answer.doubtful else answer.label
        if label != shown:
            print(f"frame {number}: {label} {answer.probability:.1%}", flush=True)
        number, shown = number + 1, label


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
