"""A deserialized engine that answers from NumPy arrays. Python 3.8.

An engine is native code: whoever calls this has checked its hash, its TensorRT and its GPU against a manifest before.
Host code that an engine may bring along stays refused, which is TensorRT's own default.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


class Runner:
    """One engine with one input and one output, its buffers and its stream, until ``close``.

    Args:
        trt: the module that the engine was built with.
        cuda: ``cuda_driver.Cuda`` of its own: ``close`` frees all that was made with it.
        logger: of that module, ``builder.logger``.
        batch: the largest that will be run.

    Raises:
        RuntimeError: TensorRT refuses the engine, in its own words.
        CudaError: there is too little memory for its buffers.
    """

    def __init__(self, trt: Any, cuda: Any, logger: Any, content: bytes, batch: int) -> None:
        self._cuda, self._logger = cuda, logger
        self._profiler: Any = None
        before = len(logger.messages)
        self._runtime = trt.Runtime(logger)
        self.engine = self._runtime.deserialize_cuda_engine(content)
        self._context: Any = None if self.engine is None else self.engine.create_execution_context()
        if self._context is None:
            raise RuntimeError(logger.last_error(before))
        try:
            self._connect(trt, cuda, batch)
        except Exception:
            self.close()
            raise

    def _connect(self, trt: Any, cuda: Any, batch: int) -> None:
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        inputs = [name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        (self.input,) = inputs
        (self.output,) = (name for name in names if name not in inputs)
        self.stream = cuda.make("cuStreamCreate", 0)
        self._sizes = {name: batch * 4 * int(np.prod(tuple(self.engine.get_tensor_shape(name))[1:])) for name in names}
        self._device = {name: cuda.allocate(size) for name, size in self._sizes.items()}
        self._host = {name: cuda.allocate_host(size) for name, size in self._sizes.items()}
        for name in names:
            self._context.set_tensor_address(name, self._device[name].value)

    def close(self) -> None:
        """Gives the GPU's memory back, for good. May be called again."""
        self._cuda.wait()  # for what uses it
        self._context = self.engine = self._runtime = self._profiler = None  # in this order
        self._cuda.close()

    def run(self, image: Any) -> Any:
        """Logits ``(n, classes) float32`` of an image ``(n, channels, height, width) float32``, contiguous."""
        self.upload(image)
        self.execute()
        return self.download()

    def upload(self, image: Any) -> None:
        """Puts a batch on the device.

        Raises:
            RuntimeError: it is larger than the buffers, or TensorRT does not take it.
        """
        if image.nbytes > self._sizes[self.input]:
            room = self._sizes[self.input] * len(image) // image.nbytes
            raise RuntimeError(f"{self.input} is {image.shape}, its buffer holds {room} of them; run fewer at once")
        before = len(self._logger.messages)
        if not self._context.set_input_shape(self.input, image.shape):
            raise RuntimeError(f"{self.input} cannot be {image.shape}: {self._logger.last_error(before)}")
        ctypes.memmove(self._host[self.input], image.ctypes.data, image.nbytes)
        self._cuda.upload(self._device[self.input], self._host[self.input], image.nbytes, self.stream)

    def execute(self) -> None:
        """Puts the engine's kernels into the stream, and does not wait for them."""
        before = len(self._logger.messages)
        if not self._context.execute_async_v3(self.stream.value):
            raise RuntimeError(self._logger.last_error(before))

    def download(self) -> Any:
        """The logits of the last run, the caller's own."""
        shape = tuple(self._context.get_tensor_shape(self.output))
        size = 4 * int(np.prod(shape))
        self._cuda.download(self._host[self.output], self._device[self.output], size, self.stream)
        self._cuda.synchronize(self.stream)
        raw = ctypes.string_at(self._host[self.output].value or 0, size)
        return np.frombuffer(raw, np.float32).reshape(shape).copy()

    def profile(self, profiler: Any) -> None:
        """Has TensorRT report the time of every layer, from now on; runs wait for it, and take longer."""
        self._profiler = profiler  # that the context does not keep alive
        self._context.profiler = profiler

    def captured(self) -> ctypes.c_void_p:
        """The engine's kernels as one CUDA graph; a run outside of it must have come before."""
        graph: ctypes.c_void_p = self._cuda.capture(self.stream, self.execute)
        return graph
