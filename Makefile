# make solve   set up .venv and solve the example pattern
# make test    the same set-up, then the tests and the style checks
# Needs CPython >= 3.11, a C++20 compiler and make; everything else comes through pip. Works in any copy of the tree.

PYTHON ?= python3
SOLVE ?= crystalnet solve examples/Zr3Sb4Pt3.xy --elements Zr,Sb,Pt --wavelength CuKa
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The package is installed in place, so only what is compiled or resolved asks for a new set-up.
INSTALLED := $(VENV)/installed
BUILD_INPUTS := pyproject.toml constraints.txt CMakeLists.txt $(shell find cpp -type f)

.PHONY: solve test sanitize cuda-check clean

solve: $(INSTALLED)
	$(BIN)/$(SOLVE)

test: $(INSTALLED)
	$(BIN)/pytest
	$(BIN)/ruff check

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
	$(PIP) install -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build
