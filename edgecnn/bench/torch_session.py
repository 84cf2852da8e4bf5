"""A PyTorch network as a session, eager or compiled, to be timed beside its artifacts."""

import copy
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.parity import compare
from edgecnn.targets.base import FP32, ExecutedLayer, Interface, Session, Tuning

if TYPE_CHECKING:
    from torch import nn

EXACT_DB = 80.0  # what rounded inputs of products do not reach


class TorchSession(Session):
    """A network in evaluation mode; threads are the whole process's, as torch has it.

    Args:
        compiled: by ``torch.compile`` with its own defaults, which needs a C++ compiler.
    """

    def __init__(self, model: "nn.Module", interface: Interface, compiled: bool, tuning: Tuning) -> None:
        import torch

        super().__init__(Interface(None, interface.channels, interface.height, interface.width, interface.classes))
        if tuning.threads is not None:
            torch.set_num_threads(tuning.threads)
        self._compiled, self._network = compiled, model.eval()
        self._model = torch.compile(self._network) if compiled else self._network

    def executed(self) -> tuple[ExecutedLayer, ...]:
        """Its convolutions and linear layers, where they are computed in float32, and else nothing.

        PyTorch does not say, and oneDNN rounds where an environment variable or a setting of torch lets it. But an
        answer tells by how far it is from the same network's in double precision: on four networks 105 to 135 dB in
        float32, and 18 to 54 where convolutions took bfloat16 or TF32.
        """
        import torch

        want = self.interface
        image = np.random.default_rng(0).normal(0, 1, (1, want.channels, want.height, want.width)).astype(np.float32)
        with torch.inference_mode():
            exact = copy.deepcopy(self._network).double()(torch.from_numpy(image).double()).numpy()
        if compare(exact, self._run(image)).sqnr_db < EXACT_DB:
            return ()
        kinds = {torch.nn.Conv2d: "Conv", torch.nn.Linear: "Gemm"}  # as the exported graph's nodes are called
        return tuple(
            ExecutedLayer((f"{name}/{kinds[type(layer)]}",), type(layer).__name__, FP32)
            for name, layer in self._network.named_modules()
            if type(layer) in kinds
        )

    @property
    def threads(self) -> int | None:
        import torch

        return torch.get_num_threads()

    def _run(self, image: Float) -> Float:
        import torch

        with torch.inference_mode():
            try:
                logits: Float = self._model(torch.from_numpy(image)).numpy()
            except RuntimeError as error:
                if not self._compiled:
                    raise
                lines = [line for line in str(error).splitlines() if line.strip()]
                raise BuildError(f"torch.compile refuses the network: {lines[0] if lines else error}") from error
        return logits
