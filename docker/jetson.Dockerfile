# snn-infer on NVIDIA Jetson: TensorRT from JetPack, ONNX Runtime on the processor. arm64 only.
#
#   docker build -f docker/jetson.Dockerfile --build-arg JETPACK=6 -t iir-snn-jetson .
#
# JetPack 6 (Orin): Ubuntu 22.04, Python 3.10, TensorRT 10.3, an L4T base.
# JetPack 7 (Thor; Orin from 7.2): Ubuntu 24.04, Python 3.12, TensorRT 10.16, an SBSA base.
ARG JETPACK=6
ARG BASE_IMAGE_6=nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime
ARG BINDING_IMAGE_6=nvcr.io/nvidia/l4t-jetpack:r36.4.0
ARG BASE_IMAGE_7=nvcr.io/nvidia/cuda:13.2.1-base-ubuntu24.04
# Which of the stages below; or an image, to build those that need no NVIDIA.
ARG BASE_IMAGE=jetpack-${JETPACK}

# The small L4T image has TensorRT's libraries, the large one of the same release its Python module.
FROM ${BINDING_IMAGE_6} AS binding-6

FROM ${BASE_IMAGE_6} AS jetpack-6
COPY --from=binding-6 /usr/lib/python3.10/dist-packages/tensorrt \
     /usr/lib/python3.10/dist-packages/tensorrt

FROM ${BASE_IMAGE_7} AS jetpack-7
ARG TENSORRT_7=10.16.1.11-1+cuda13.2
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends \
      "libnvinfer10=${TENSORRT_7}" "libnvinfer-plugin10=${TENSORRT_7}" \
      "libnvonnxparsers10=${TENSORRT_7}" "python3-libnvinfer=${TENSORRT_7}"; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/*

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
    pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .; \
    wheel=$(echo /wheels/iir_snn-*.whl); \
    pip download --no-cache-dir --only-binary :all: --constraint docker/constraints.txt \
      --dest /wheels "${wheel}[tensorrt]"

FROM build AS environment
# JetPack's module tensorrt is seen from inside, everything else is the environment's own: of the extra
# only cuda-python, since there are no wheels of TensorRT for Jetson.
RUN set -eu; \
    python3 -m venv --system-site-packages /opt/iir-snn; \
    /opt/iir-snn/bin/pip install --no-cache-dir --no-index --find-links /wheels \
      --ignore-installed 'iir-snn[tensorrt]'; \
    /opt/iir-snn/bin/pip uninstall --yes --quiet pip
# What needs no GPU is tried here; TensorRT can be loaded only on a board, with its driver mounted.
# An emulated onnxruntime reads of the real processor in /sys and crashes: it is left untried.
ARG BUILDARCH
RUN set -eu; \
    export PATH="/opt/iir-snn/bin:$PATH"; \
    snn-infer --self-test --backend event runtime/photos; \
    case "$BUILDARCH $(uname -m)" in \
      'amd64 aarch64' | 'arm64 x86_64') ;; \
      *) snn-infer --self-test --backend onnxruntime runtime/photos ;; \
    esac; \
    snn-doctor

FROM python
ARG JETPACK
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iir-snn-jetson" \
      org.opencontainers.image.description="Single-timestep spiking networks on NVIDIA Jetson, JetPack ${JETPACK}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /data
COPY --from=environment /opt/iir-snn /opt/iir-snn
# Engines that TensorRT has built, which takes minutes: a volume of whoever runs it, and private.
RUN set -eu; install --directory --owner=10001 --group=10001 --mode=0700 /cache
ENV PATH="/opt/iir-snn/bin:$PATH" \
    IIR_SNN_CACHE=/cache
USER 10001:10001
ENTRYPOINT ["snn-infer"]
