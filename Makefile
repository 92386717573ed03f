# make solve   set up .venv and solve the example pattern; the answer is the last line
# make test    the same set-up and what tests need, then the tests and the style checks
# Needs CPython >= 3.11, a C++20 compiler and make; everything else comes through pip. Works in any copy of the tree.

PYTHON ?= python3
SOLVE ?= crystalnet solve examples/Zr3Sb4Pt3.xy --elements Zr,Sb,Pt --wavelength CuKa
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The package is installed in place, so only what is compiled or resolved asks for a new set-up.
INSTALLED := $(VENV)/installed
TESTABLE := $(VENV)/testable
BUILD_INPUTS := pyproject.toml constraints.txt CMakeLists.txt $(shell find cpp -type f)

.PHONY: solve test coverage types docs minimum sanitize cuda-check clean

solve: $(INSTALLED)
	$(BIN)/$(SOLVE)

test: $(TESTABLE)
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/ruff check
	$(BIN)/lint-imports

# Which lines no test runs, worker processes included.
coverage: $(TESTABLE)
	$(PIP) install -q -c constraints.txt pytest-cov
	$(BIN)/pytest --cov

types: $(TESTABLE)
	$(BIN)/mypy

# The site, into build/site. Docstrings are read, not imported: a small environment of its own will do.
docs:
	test -x build/docs/bin/mkdocs || $(PYTHON) -m venv build/docs
	build/docs/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt mkdocs-material "mkdocstrings[python]"
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict --site-dir build/site

# The tests with the lowest version of every direct dependency that pyproject.toml allows: a download of 3 GB, for torch's
# oldest comes with CUDA. With PYTHON=python3.11 or 3.12: for later ones the oldest numpy has no wheel.
minimum:
	test -x build/minimum/bin/python || $(PYTHON) -m venv build/minimum
	build/minimum/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt uv
	build/minimum/bin/uv pip install --python build/minimum/bin/python --resolution lowest-direct -r pyproject.toml --extra test
	CRYSTALNET_CUDA=OFF build/minimum/bin/uv pip install --python build/minimum/bin/python --reinstall-package crystalnet --no-deps .
	build/minimum/bin/pytest

# Runs the CPU kernels under the address and undefined-behaviour sanitizers.
sanitize: $(INSTALLED)
	$(PIP) install -q -c constraints.txt cmake ninja
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/sanitize -G Ninja -DCRYSTALNET_SANITIZE=ON \
		-DCRYSTALNET_CUDA=OFF -DCRYSTALNET_PYTHON=OFF
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize --target sanitize
	build/sanitize/sanitize

# Compiles the CUDA kernels without a GPU or a driver; needs nvcc.
cuda-check: $(INSTALLED)
	$(PIP) install -q -c constraints.txt cmake ninja
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/cuda-check -G Ninja -DCRYSTALNET_CUDA=ON -DCRYSTALNET_PYTHON=OFF
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/cuda-check --target crystalnet_cuda

$(INSTALLED): $(BUILD_INPUTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	touch $@

$(TESTABLE): $(BUILD_INPUTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e ".[test]"
	touch $@ $(INSTALLED)

clean:
	rm -rf $(VENV) build
