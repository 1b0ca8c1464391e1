# make demo   installs the runtime into .venv and labels a bundled photograph with the bundled model
# make test   installs everything and runs lint, types and tests
# make lint   only the checks that read the code
# make docs   builds docs/ into build/docs; every warning is an error
# make test-versions   the runtime from a built wheel: on PYTHON, and with the lowest versions allowed
# make shell  writes completion and man pages anew, after a flag has changed: runtime/share
# make engine compiles the spike-driven engine, if its sources changed
# make test-aarch64   the engine's tests on emulated processors: 64-bit ARM, older x86
# make containers     the images for processors, iir-snn:amd64 and iir-snn:arm64; ARCHES=amd64 for one

PYTHON ?= python3
# Pinned: the newest torch brings gigabytes of CUDA packages that no test needs.
TORCH ?= torch==2.13.0
# Processes that share the tests, a file at a time: one more than cores, as many tests wait for others.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
VENV := .venv
# What needs neither torch nor OpenVINO nor TensorRT's builder, nor anything of this folder but the tests.
RUNTIME_TESTS := $(addprefix tests/runtime/, engines/test_lifetime.py engines/onnxruntime/test_backend.py \
  engines/onnxruntime/test_integer.py graph/test_builder.py graph/test_graph.py image infer \
  machine/test_saturation.py model_file proof) $(wildcard tests/runtime/test_*.py)
BIN := $(VENV)/bin
ENGINE := runtime/snn_runtime/engines/event
CPP := $(wildcard $(foreach folder,$(ENGINE) tests/runtime/engines/event train/snn_train/events,$(folder)/*.cpp $(folder)/*.h))
ARCHES ?= amd64 arm64
IMAGE ?= iir-snn
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2> /dev/null || echo unknown)

.PHONY: demo test lint types docs shell engine programs test-versions test-wheel test-lowest test-aarch64 containers clean

demo: $(VENV)/runtime.done
	$(BIN)/snn-infer runtime/photos

# Two at a time: much of it is the work of one process.
test:
	$(MAKE) --jobs 2 --output-sync engine $(VENV)/torch.done
	$(MAKE) --jobs 2 --output-sync programs lint docs
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Tests read the objects that are left in build/event.
engine:
	$(PYTHON) runtime/event_build.py build/event

# Of the tests; compiled while packages are installed.
programs:
	PYTHONPATH=runtime $(PYTHON) tests/event_programs.py

docs: $(VENV)/all.done
	$(BIN)/python -m sphinx --fail-on-warning --quiet --fresh-env docs build/docs

shell: $(VENV)/runtime.done
	PYTHONPATH=train:export:runtime $(BIN)/python runtime/shell_files.py

# What a board gets: a wheel, in an environment that holds nothing of the project but that wheel.
test-versions: test-wheel test-lowest

test-wheel: build/wheel.done
	$(call tested_wheel,build/venv-wheel,)

test-lowest: build/wheel.done
	$(PYTHON) runtime/lowest_versions.py > build/lowest.txt
	$(call tested_wheel,build/venv-lowest,--constraint build/lowest.txt)

build/wheel.done: $(shell git ls-files runtime hatch_build.py pyproject.toml 2> /dev/null)
	rm -rf build/wheel && $(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	touch $@

define tested_wheel
	rm -rf $(1) && $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet $(2) build/wheel/*.whl 'pytest>=8.4' 'hypothesis>=6.100'
	$(1)/bin/python -m pytest --override-ini pythonpath=tests -p no:cacheprovider $(RUNTIME_TESTS)
endef

test-aarch64: $(VENV)/all.done
	@for tool in aarch64-linux-gnu-g++ qemu-aarch64-static qemu-x86_64-static; do \
	  command -v $$tool > /dev/null || { echo "$$tool is not here; on Debian: \
	apt-get install g++-aarch64-linux-gnu qemu-user-static" >&2; exit 1; }; done
	$(BIN)/python -m pytest tests/runtime/engines/event/test_emulated.py

containers:
	@if docker buildx version > /dev/null 2>&1; then \
	  IMAGE=$(IMAGE) VERSION=$(VERSION) REVISION=$(REVISION) \
	    docker buildx bake --file docker/docker-bake.hcl $(ARCHES:%=cpu-%); \
	else \
	  for tool in podman buildah ''; do command -v "$$tool" > /dev/null && break; done; \
	  test -n "$$tool" || { echo "docker with buildx, podman or buildah is needed to build \
	containers; on Debian: apt-get install podman" >&2; exit 1; }; \
	  for arch in $(ARCHES); do \
	    $$tool build --platform linux/$$arch --file docker/cpu.Dockerfile --tag $(IMAGE):$$arch \
	      --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) . || exit; \
	  done; \
	fi

lint: types build/clang-tidy.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CPP)

types: $(VENV)/all.done
	$(BIN)/mypy

# Run again only if something changed that it reads.
build/clang-tidy.done: $(CPP) .clang-tidy runtime/event_build.py runtime/event_lint.py $(VENV)/all.done
	$(BIN)/python runtime/event_lint.py
	mkdir -p build && touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

# The build hook compiles the engine in passing.
$(VENV)/runtime.done: $(BIN)/python pyproject.toml hatch_build.py runtime/event_build.py $(wildcard $(ENGINE)/*.cpp $(ENGINE)/*.h)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/torch.done: $(BIN)/python
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	touch $@

$(VENV)/all.done: $(VENV)/torch.done pyproject.toml hatch_build.py
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps --group frameworks
	touch $@

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
