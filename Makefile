# Everything runs in .venv, which is made from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DATASET := /usr/share/datasets/fashion-mnist
PHOTOGRAPHS := /usr/share/gcompris-qt
BROWSER := /usr/bin/chromedriver
OTHER_CPUS := /usr/bin/qemu-x86_64
SSHD := /usr/sbin/sshd
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
APT_INSTALL := $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq

.PHONY: demo test lint types unit clean bench-export bench-accuracy bench-int8

demo: .venv/.demo ## the main job on real images
	$(BIN)/edgecnn export mobilenetv3 --target openvino --int8 --out demo/mobilenetv3-int8 --force
	$(BIN)/edgecnn verify demo/mobilenetv3-int8 --images fashion-mnist-1000
	$(BIN)/edgecnn predict demo/mobilenetv3-int8 \
		calibration/fashion-mnist-1000/images/00004.png calibration/fashion-mnist-1000/images/00019.png
	$(BIN)/edgecnn export mobilenetv3 --target tensorrt --int8 --out demo/mobilenetv3-tensorrt-int8 --force

test: lint types unit ## what CI runs

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.dev
	$(BIN)/mypy

unit: .venv/.dev | $(DATASET) $(BROWSER) $(OTHER_CPUS) $(SSHD)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

clean:
	rm -rf .venv demo dist build

# Debian and Ubuntu keep ensurepip in a package of its own.
.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT_INSTALL) python3-venv; }
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[export,openvino,onnxruntime,tensorrt-rtx]'
	touch $@

# pip learned --group in 25.1, which a fresh virtual environment may not have.
.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --constraint constraints.txt --group dev --editable '.[export,openvino,onnxruntime,tensorrt-rtx,train,lite0,report]'
	touch $@ .venv/.demo

.venv/.peers: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[peers]'
	touch $@ .venv/.demo

# CPUs that this one is not, emulated: INT8 kernels differ with their instructions.
$(OTHER_CPUS):
	$(APT_INSTALL) qemu-user

# Fashion-MNIST, from Debian's and Ubuntu's archives.
$(DATASET):
	$(APT_INSTALL) dataset-fashion-mnist

# Photographs to measure on, as GCompris has them.
$(PHOTOGRAPHS):
	$(APT_INSTALL) gcompris-qt-data

# The browser that tests look at a report with; the driver brings nothing that would start it. Ubuntu has both as snaps.
$(BROWSER):
	$(APT_INSTALL) chromium chromium-driver || $(APT_INSTALL) chromium-browser chromium-chromedriver

# A real server for the tests of --host, which run their own on loopback.
$(SSHD):
	$(APT_INSTALL) openssh-server

bench-export: .venv/.demo ## seconds and memory of whole exports
	$(BIN)/python tools/bench_export.py

# `python -m tools.bench_accuracy --help` has what OPTIONS may be.
bench-accuracy: .venv/.dev | $(DATASET) $(PHOTOGRAPHS) ## the accuracy that README speaks of, on images that calibration never saw
	$(BIN)/python -m tools.bench_accuracy $(OPTIONS)

# OPTIONS='--quick' tries it in a few minutes; `python -m tools.bench_int8 --help` has the rest.
bench-int8: .venv/.peers | $(DATASET) $(PHOTOGRAPHS) ## INT8 accuracy and latency against NNCF and ONNX Runtime's own quantizer
	$(BIN)/python -m tools.bench_int8 $(OPTIONS)
