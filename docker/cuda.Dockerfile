# snn-infer on x86-64 servers with an NVIDIA GPU: ONNX Runtime's CUDA provider.
#
#   docker build -f docker/cuda.Dockerfile -t iir-snn-cuda .
#   docker run --rm --gpus all -v "$PWD:/data:ro" iir-snn-cuda --device cuda image.jpg
#
# The base may be any with Python 3.11 or later, or Ubuntu 24.04 or later without: CUDA and cuDNN
# come as wheels, of the versions that onnxruntime-gpu was built for. The host needs a driver for CUDA 13.
ARG BASE_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04

FROM ${BASE_IMAGE} AS python
# hadolint ignore=DL3008
RUN set -eu; \
    command -v python3 > /dev/null || { \
      apt-get update; \
      apt-get install --yes --no-install-recommends python3; \
      apt-get clean; \
      rm -rf /var/lib/apt/lists/*; \
    }

FROM python AS build
# hadolint ignore=DL3008
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends ca-certificates g++ python3-venv; \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY docker/constraints.txt docker/
RUN set -eu; \
    python3 -m venv /build; \
    /build/bin/pip install --no-cache-dir --only-binary :all: --constraint docker/constraints.txt \
      hatchling
COPY . .
RUN set -eu; \
    export PATH="/build/bin:$PATH" SNN_EVENT_BUILD=require; \
    pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .

FROM build AS environment
ARG EXTRAS=cuda
# The extra pins onnxruntime itself. onnxruntime-gpu is laid over onnxruntime, which lies in the same
# folder, a second time: pip may have done it the other way round.
# hadolint ignore=DL3013
RUN set -eu; \
    grep -v ^onnxruntime docker/constraints.txt > /constraints.txt; \
    wheel=$(echo /wheels/iir_snn-*.whl); \
    /build/bin/pip download --no-cache-dir --only-binary :all: --constraint /constraints.txt \
      --dest /wheels "${wheel}[${EXTRAS}]"; \
    python3 -m venv /opt/iir-snn; \
    export PATH="/opt/iir-snn/bin:$PATH"; \
    pip install --no-cache-dir --no-index --find-links /wheels "iir-snn[${EXTRAS}]"; \
    pip install --no-cache-dir --no-index --find-links /wheels --force-reinstall --no-deps \
      onnxruntime-gpu; \
    pip uninstall --yes --quiet pip
# What needs no GPU is tried here.
RUN set -eu; \
    export PATH="/opt/iir-snn/bin:$PATH"; \
    snn-infer --self-test --backend event runtime/photos; \
    snn-infer --self-test --backend onnxruntime runtime/photos; \
    snn-doctor

FROM python
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iir-snn-cuda" \
      org.opencontainers.image.description="Single-timestep spiking networks on NVIDIA GPU servers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /data
COPY --from=environment /opt/iir-snn /opt/iir-snn
# Engines that TensorRT has built, if it is among the extras: a volume of whoever runs it, and private.
RUN set -eu; install --directory --owner=10001 --group=10001 --mode=0700 /cache
ENV PATH="/opt/iir-snn/bin:$PATH" \
    IIR_SNN_CACHE=/cache
USER 10001:10001
ENTRYPOINT ["snn-infer"]
