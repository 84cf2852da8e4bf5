"""How much of a network really runs in INT8, counted from what the runtime executes and not from what was planned."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgecnn.names import OUTPUT
from edgecnn.targets.base import INT8, ExecutedLayer

# Kernels that change a layout or a number format, in the words of all runtimes.
REFORMATS = {
    "Cast", "Convert", "DequantizeLinear", "QuantizeLinear", "Reformat", "Reorder", "ReorderInput", "ReorderOutput",
    "Transpose",
}  # fmt: skip
QUANTIZER = ("/QuantizeLinear", "/DequantizeLinear")
NOT_SEEN = "not seen"  # no kernel says that it stands for the layer
PORTABLE = "the portable graph reaches INT8 kernels here for some layers alone; --target onnxruntime is made for them"
NAMED = 3  # layers that a message names before it counts the rest


@dataclass(frozen=True)
class FloatLayer:
    """A layer that does not run in INT8.

    Args:
        name: of its node, ``module.path/Op``.
        macs_share: of all multiply-accumulates, 0..1.
        precision: that it runs in.
        planned: whether it was quantized, so that it should run in INT8.
    """

    name: str
    macs_share: float
    precision: str
    planned: bool


@dataclass(frozen=True)
class Coverage:
    """What runs in INT8, what does not, and what the runtime added.

    Args:
        macs: multiply-accumulates of one image.
        int8_macs_share: of them in INT8 kernels, 0..1.
        int8_layers: convolutions and linear layers in INT8 kernels.
        planned: quantized layers; ``planned_int8`` of them in INT8 kernels.
        float_layers: the others, planned ones first, then the largest.
        reformats: kernels by kind that change a layout or a number format, and compute nothing.
        unfused: activations with a kernel of their own, by node, with the values of one image that each makes.
        problem: why the artifact is secretly float, or empty.
        remark: what a user should know of layers that are in float without being a problem, or empty.
    """

    macs: int
    int8_macs_share: float
    int8_layers: int
    planned: int
    planned_int8: int
    float_layers: tuple[FloatLayer, ...]
    reformats: dict[str, int]
    unfused: dict[str, int]
    problem: str
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on. Shares carry six digits."""
        return {
            "macs": self.macs,
            "int8_macs_share": round(self.int8_macs_share, 6),
            "int8_layers": self.int8_layers,
            "planned_layers": self.planned,
            "planned_int8_layers": self.planned_int8,
            "secretly_float": [layer.name for layer in self.float_layers if layer.planned],
            "float_layers": [
                {"name": layer.name, "macs_share": round(layer.macs_share, 6), "precision": layer.precision}
                for layer in self.float_layers
            ],
            "reformats": dict(sorted(self.reformats.items())),
            "unfused_activations": [{"name": name, "values": values} for name, values in self.unfused.items()],
        }


def cover(
    executed: Iterable[ExecutedLayer],
    macs: Mapping[str, int],
    activations: Mapping[str, int],
    planned: Iterable[str],
    every_layer: bool,
) -> Coverage:
    """Counts the kernels of a compiled model.

    Args:
        macs: of one image, by node, of every convolution and linear layer in the graph's order.
        activations: values of one image, by node.
        planned: nodes that the quantizer made INT8 layers.
        every_layer: whether each planned layer must run in INT8, or only some, as in a portable graph.
    """
    kernels, plan = list(executed), list(planned)
    precisions = layer_precisions(kernels, macs)
    whole = sum(macs.values())
    in_float = [
        FloatLayer(name, macs[name] / whole, precision, name in plan)
        for name, precision in precisions.items()
        if precision != INT8
    ]
    covered = sum(precisions[name] == INT8 for name in plan)
    enough = covered == len(plan) if every_layer else covered > 0 or not plan
    return Coverage(
        macs=whole,
        int8_macs_share=sum(macs[name] for name in precisions if precisions[name] == INT8) / whole,
        int8_layers=len(precisions) - len(in_float),
        planned=len(plan),
        planned_int8=covered,
        float_layers=tuple(sorted(in_float, key=lambda layer: (not layer.planned, -layer.macs_share, layer.name))),
        reformats=dict(Counter(kernel.kind for kernel in kernels if _is_reformat(kernel))),
        unfused=_unfused(kernels, macs, activations),
        problem="" if enough else _problem(precisions, plan, covered),
        remark=PORTABLE if enough and covered < len(plan) else "",
    )


def layer_precisions(executed: Iterable[ExecutedLayer], macs: Mapping[str, int]) -> dict[str, str]:
    """The precision that each convolution and linear layer runs in, or ``not seen``, by node."""
    found = {
        name: kernel.precision for kernel in executed if not _is_reformat(kernel) for name in layers_of(kernel, macs)
    }
    return {name: found.get(name, NOT_SEEN) for name in macs}


def shares(precisions: Mapping[str, str], macs: Mapping[str, int]) -> dict[str, float]:
    """Of the multiply-accumulates by precision, the largest first."""
    found: dict[str, int] = {}
    for name, precision in precisions.items():
        found[precision] = found.get(precision, 0) + macs[name]
    whole = sum(found.values())
    return {name: round(found[name] / whole, 6) for name in sorted(found, key=lambda name: -found[name])}


def layers_of(kernel: ExecutedLayer, macs: Mapping[str, int]) -> list[str]:
    """The convolutions and linear layers that a kernel stands for; the last of all may go by the network's output."""
    return [list(macs)[-1] if name == OUTPUT else name for name in kernel.nodes if name == OUTPUT or name in macs]


def _is_reformat(kernel: ExecutedLayer) -> bool:
    quantizers_alone = bool(kernel.nodes) and all(name.endswith(QUANTIZER) for name in kernel.nodes)
    return kernel.kind in REFORMATS or quantizers_alone


def _unfused(
    kernels: Iterable[ExecutedLayer], macs: Mapping[str, int], activations: Mapping[str, int]
) -> dict[str, int]:
    """The activations that no layer's kernel took in, the largest first."""
    alone = {
        name
        for kernel in kernels
        if not _is_reformat(kernel) and not layers_of(kernel, macs)
        for name in kernel.nodes
        if name in activations
    }
    return {name: activations[name] for name in sorted(alone, key=lambda name: (-activations[name], name))}


def _problem(precisions: Mapping[str, str], plan: list[str], covered: int) -> str:
    missing = [f"{name} ({precisions[name]})" for name in plan if precisions[name] != INT8]
    rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"{covered} of {len(plan)} quantized layers run in int8; not: {', '.join(missing[:NAMED])}{rest}"
