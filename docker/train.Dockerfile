# train-snn and export-snn on processors: from pictures to model.onnx.
#
#   docker build -f docker/train.Dockerfile -t iir-snn-train .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" iir-snn-train --data digits
#
# The base: an official Python image, Debian or Ubuntu, with Python 3.11 or later.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS python
# hadolint ignore=DL3008
RUN set -eu; \
    command -v python3 > /dev/null || { \
      apt-get update; \
      apt-get install --yes --no-install-recommends python3; \
      apt-get clean; \
      rm -rf /var/lib/apt/lists/*; \
    }

FROM python AS environment
# hadolint ignore=DL3008
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends ca-certificates python3-venv; \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY docker/constraints.txt docker/
# Arguments that tell pip where torch is, such as --index-url and the place that PyTorch's
# installation page names for CPU builds. Without them x86-64 gets the build for NVIDIA, which is gigabytes larger.
ARG TORCH_FROM=""
ARG TORCH=torch==2.13.0
# hadolint ignore=DL3013,SC2086
RUN set -eu; \
    python3 -m venv /opt/iir-snn; \
    export PATH="/opt/iir-snn/bin:$PATH"; \
    pip install --no-cache-dir --only-binary :all: ${TORCH_FROM} "${TORCH}"; \
    pip install --no-cache-dir --only-binary :all: --constraint docker/constraints.txt hatchling
COPY . .
# Trained networks run elsewhere; the event engine, which needs a compiler, is not for here.
RUN set -eu; \
    export PATH="/opt/iir-snn/bin:$PATH" SNN_EVENT_BUILD=off; \
    pip install --no-cache-dir --no-build-isolation --constraint docker/constraints.txt \
      '.[train,export]'; \
    pip uninstall --yes --quiet hatchling pip; \
    train-snn --version; \
    export-snn --version

FROM python
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iir-snn-train" \
      org.opencontainers.image.description="Trains spiking networks down to one timestep and exports them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /data
COPY --from=environment /opt/iir-snn /opt/iir-snn
# Whoever it runs as has no home here; matplotlib wants a place for its list of fonts.
ENV PATH="/opt/iir-snn/bin:$PATH" \
    MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
ENTRYPOINT ["train-snn"]
