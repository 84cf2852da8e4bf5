"""Efficient CNNs from PyTorch to devices, with the evidence that they still answer the same.

``export``, ``verify``, ``inspect`` and ``predict`` do what the commands of these names do; they are imported when first
used, so that importing edgecnn needs no runtime.
"""

from typing import TYPE_CHECKING, Any

from edgecnn.names import __version__

if TYPE_CHECKING:
    from edgecnn.inspection import inspect as inspect
    from edgecnn.pipeline import export as export
    from edgecnn.pipeline import predict as predict
    from edgecnn.pipeline import verify as verify
    from edgecnn.request import ExportRequest as ExportRequest

__all__ = ["ExportRequest", "__version__", "export", "inspect", "predict", "verify"]


def __getattr__(name: str) -> Any:
    if name == "ExportRequest":
        from edgecnn.request import ExportRequest

        return ExportRequest
    if name == "inspect":
        from edgecnn.inspection import inspect

        return inspect
    if name in ("export", "predict", "verify"):
        from edgecnn import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'edgecnn' has no attribute {name!r}")
