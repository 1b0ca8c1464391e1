# snn-infer on processors, amd64 and arm64.
#
#   docker build -f docker/cpu.Dockerfile -t iir-snn .
#   docker run --rm -v "$PWD:/data:ro" iir-snn image.jpg
#   docker build -f docker/cpu.Dockerfile --target serve -t iir-snn-serve .
#
# The base: an official Python image, Debian or Ubuntu, with Python 3.10 or later.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS python
# Debian and Ubuntu come without Python. Official Python images come without bytecode, and whoever
# runs this one cannot write any: every start would compile again what it imports.
# hadolint ignore=DL3008
RUN set -eu; \
    command -v python3 > /dev/null || { \
      apt-get update; \
      apt-get install --yes --no-install-recommends python3; \
      apt-get clean; \
      rm -rf /var/lib/apt/lists/*; \
    }; \
    python3 -m compileall -qq -x '/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|turtledemo)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

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
# The wheel with the event engine, compiled for the image's architecture, and those it needs.
RUN set -eu; \
    export PATH="/build/bin:$PATH" SNN_EVENT_BUILD=require; \
    pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .; \
    pip download --no-cache-dir --only-binary :all: --constraint docker/constraints.txt \
      --dest /wheels "$(echo /wheels/iir_snn-*.whl)[serve]"

FROM build AS environment
# Without what is not needed to run: pip, other packages' tests, onnxruntime's converters.
RUN set -eu; \
    python3 -m venv /opt/iir-snn; \
    /opt/iir-snn/bin/pip install --no-cache-dir --no-compile --no-index --find-links /wheels \
      'iir-snn[serve]'; \
    /opt/iir-snn/bin/pip uninstall --yes --quiet pip setuptools; \
    packages=$(echo /opt/iir-snn/lib/python3*/site-packages); \
    rm -r "$packages/onnx/backend/test" "$packages/onnxruntime/tools" \
      "$packages/onnxruntime/transformers"; \
    find "$packages/numpy" -type d -name tests -prune -exec rm -r {} +; \
    python3 -m compileall -qq --invalidation-mode unchecked-hash "$packages"
# A broken image never leaves the build. An emulated onnxruntime reads of the real processor in /sys
# and crashes: where the image is for another architecture it is left untried.
ARG BUILDARCH
RUN set -eu; \
    export PATH="/opt/iir-snn/bin:$PATH"; \
    snn-infer --self-test --backend event runtime/photos; \
    case "$BUILDARCH $(uname -m)" in \
      'amd64 aarch64' | 'arm64 x86_64') ;; \
      *) snn-infer --self-test --backend onnxruntime runtime/photos ;; \
    esac; \
    snn-doctor; \
    snn-serve --check

FROM python AS runtime
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iir-snn" \
      org.opencontainers.image.description="Single-timestep spiking networks: pictures in, labels out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /data
COPY --from=environment /opt/iir-snn /opt/iir-snn
ENV PATH="/opt/iir-snn/bin:$PATH"
USER 10001:10001

FROM runtime AS serve
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s CMD ["snn-serve", "--probe"]
ENTRYPOINT ["snn-serve"]

FROM runtime
ENTRYPOINT ["snn-infer"]
