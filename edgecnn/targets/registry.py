"""Every target by name; a runtime is imported only when its target is used."""

from edgecnn.errors import unknown_name
from edgecnn.targets.base import Target
from edgecnn.targets.onnxruntime import OnnxRuntimeTarget, OnnxTarget
from edgecnn.targets.openvino import OpenVinoTarget
from edgecnn.targets.tensorrt import TensorRtTarget

TARGETS: dict[str, Target] = {
    target.name: target for target in (OnnxTarget(), OnnxRuntimeTarget(), OpenVinoTarget(), TensorRtTarget())
}


def find_target(name: str) -> Target:
    """The target of this name, installed or not.

    Raises:
        UsageError: there is none, with the nearest names.
    """
    target = TARGETS.get(name)
    if target is None:
        raise unknown_name("target", name, TARGETS)
    return target
