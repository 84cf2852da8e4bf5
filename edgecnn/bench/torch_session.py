"""A PyTorch network as a session, eager or compiled, to be timed beside its artifacts."""

from typing import TYPE_CHECKING

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.targets.base import ExecutedLayer, Interface, Session, Tuning

if TYPE_CHECKING:
    from torch import nn


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
        self._compiled = compiled
        self._model = torch.compile(model.eval()) if compiled else model.eval()

    def executed(self) -> tuple[ExecutedLayer, ...]:
        return ()  # PyTorch does not say

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
