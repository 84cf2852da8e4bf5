"""An engine on this machine: what its builder said of it, and its answers where there is a GPU for it."""

import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError, UnavailableError
from edgecnn.targets.base import ExecutedLayer, Interface, KernelTime, Session, StaticCost
from edgecnn.targets.bundle.builder import logger, not_for
from edgecnn.targets.bundle.cuda_driver import Cuda, CudaError, Gpu, find_gpu
from edgecnn.targets.bundle.engine import Runner
from edgecnn.targets.bundle.layer_times import layer_times
from edgecnn.targets.bundle.layers import Kernel, kernel_called
from edgecnn.targets.tensorrt_flavours import load

BATCHES = (1, 8, 64)  # smallest, usual and largest of a dynamic batch
NOT_BUILT = "the device builds its engine, from the bundle"
FAILURES = (RuntimeError, CudaError)  # TensorRT's and CUDA's
REMEDY = "`edgecnn verify` checks the graph that it was built from, and the bundle's run.py runs it on its GPU"


@dataclass(frozen=True)
class Description:
    """What is known of an engine without opening it; it lies beside it as JSON.

    Args:
        module: ``tensorrt`` or ``tensorrt_rtx``; engines open in the very version that built them.
        architectures: of the GPUs that it is for, such as ``SM86``; none is every one that RTX knows.
    """

    module: str
    version: str
    architectures: tuple[str, ...]
    kernels: tuple[Kernel, ...]

    def as_bytes(self) -> bytes:
        """JSON, the same for the same engine."""
        kernels = [kernel._asdict() | {"nodes": list(kernel.nodes)} for kernel in self.kernels]
        document = {"module": self.module, "version": self.version, "architectures": list(self.architectures)}
        return json.dumps(document | {"kernels": kernels}, indent=0, sort_keys=True).encode()

    @classmethod
    def read(cls, content: bytes) -> "Description":
        """What ``as_bytes`` wrote.

        Raises:
            BuildError: it did not.
        """
        try:
            found = json.loads(content)
            kernels = tuple(
                Kernel(row["kind"], tuple(row["nodes"]), row["precision"], row["bytes"], row["name"])
                for row in found["kernels"]
            )
            return cls(found["module"], found["version"], tuple(found["architectures"]), kernels)
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(
                f"tensorrt refuses the files: the engine's description cannot be read ({error})"
            ) from error

    def cost(self, precision: str) -> StaticCost:
        """Kernels, and what they read and write for one batch."""
        return StaticCost(precision, len(self.kernels), sum(kernel.bytes for kernel in self.kernels))


class TensorRtSession(Session):
    """An engine, opened when it is first asked for an answer; what it took of the GPU goes with the session."""

    def __init__(self, engine: bytes, description: Description, interface: Interface) -> None:
        self._gpu, why = find_gpu()
        super().__init__(interface, why or _mismatch(description, self._gpu))
        self._engine, self._description = engine, description
        self._runner: Runner | None = None

    def executed(self) -> tuple[ExecutedLayer, ...]:
        return tuple(map(_executed, self._description.kernels))

    def kernel_times(self, batches: Sequence[Float]) -> tuple[KernelTime, ...]:
        runner = self._opened()
        try:
            spent = layer_times(load(self._description.module), runner, batches)
        except FAILURES as error:
            raise self._failed("fails to run", error) from error
        kernels = self._description.kernels
        return tuple(KernelTime.of_runs(_executed(kernel_called(name, kernels)), ms) for name, ms in spent.items())

    def _run(self, image: Float) -> Float:
        runner = self._opened()
        try:
            logits: Float = runner.run(image)
        except FAILURES as error:
            raise self._failed("fails to run", error) from error
        return logits

    def _opened(self) -> Runner:
        if self.absence:
            raise UnavailableError(f"this engine cannot run here: {self.absence}; {REMEDY}")
        if self._runner is None:
            trt = load(self._description.module)
            try:
                largest = self.interface.batch or BATCHES[-1]
                self._runner = Runner(trt, Cuda(), logger(trt), self._engine, largest)
            except FAILURES as error:
                raise self._failed("refuses", error) from error
            weakref.finalize(self, self._runner.close)
        return self._runner

    def _failed(self, how: str, error: Exception) -> BuildError:
        return BuildError(f"{self._description.module} {self._description.version} {how} the engine: {error}")


class NothingBuilt(Session):
    """An artifact whose engine its device will build."""

    def __init__(self, interface: Interface) -> None:
        super().__init__(interface, NOT_BUILT)

    def executed(self) -> tuple[ExecutedLayer, ...]:
        return ()

    def _run(self, image: Float) -> Float:
        raise UnavailableError(f"there is no engine here: {self.absence}; {REMEDY}")


def _executed(kernel: Kernel) -> ExecutedLayer:
    return ExecutedLayer(kernel.nodes, kernel.kind, kernel.precision)


def _mismatch(description: Description, gpu: Gpu | None) -> str:
    """Why an engine is not for this machine, or empty. Asked before a byte of it is deserialized."""
    try:
        trt = load(description.module)
    except UnavailableError as error:
        return str(error)
    if trt.__version__ != description.version:
        return f"it was built by {description.module} {description.version}, here is {trt.__version__}"
    why = "" if gpu is None else not_for(trt, description.architectures, gpu)
    return f"it is {why}" if why else ""
