"""The quantizer table, from which a runtime's graph is lowered; the lowering keeps every one of its codes.

Each target climbs a ladder of its own and so has its own table: which tensors it quantizes, which codes are signed, how
weights are bounded and which layers stay float differ from one to the next (docs/decisions/0001).

Activations: per tensor, unsigned 8-bit codes with an integer zero-point, or signed ones for runtimes that know no
zero-point. Weights: per output channel, symmetric, codes in -127..127 (Jacob et al. 2018, arXiv 1712.05877;
Krishnamoorthi 2018, arXiv 1806.08342, section 2).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import InputError
from edgecnn.graph.attributes import is_depthwise
from edgecnn.graph.fixed import fixed_tensors
from edgecnn.graph.graph import Graph
from edgecnn.quant.calibrate import Range
from edgecnn.quant.observe import in_module
from edgecnn.quant.placement import Placement, Role, activation_output
from edgecnn.quant.saturation import EIGHT_BITS, Limits, code_limits

Float = NDArray[np.float32]

NOTHING = Range(0.0, 0.0)
LEVELS = 255
SIGNED_MAX = 127
# A channel this much narrower than the widest of its layer carries nothing; its scale would only overflow the bias.
NARROWEST_CHANNEL = np.float32(2.0**-20)
# Runtimes that keep the bias in int32, as multiples of (input scale × weight scale), need room to add to it.
BIAS_LIMIT = 2.0**30
RAISED_BY = np.float32(3)  # in front of a HardSigmoid, see ``lower/codes.py``


@dataclass(frozen=True)
class ActivationQuantizer:
    """``real = scale * (code - zero_point)``.

    Args:
        signed: codes are int8 in -128..127 and the zero-point is 0, else they are uint8 in 0..255.
    """

    scale: float
    zero_point: int
    roles: frozenset[Role]
    signed: bool = False

    @property
    def dtype(self) -> type[np.int8] | type[np.uint8]:
        """Of the codes."""
        return np.int8 if self.signed else np.uint8

    def dequantize(self, codes: NDArray[np.int8] | NDArray[np.uint8]) -> Float:
        """What INT8 kernels read, float32 of the same shape."""
        return (codes.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True)
class WeightQuantizer:
    """``real[c] = scale[c] * codes[c]``.

    Args:
        codes: int8 in -127..127, of the weight's own shape, output channels first.
        scale: (output channels,) float32.
    """

    codes: NDArray[np.int8]
    scale: Float

    @property
    def real(self) -> Float:
        """The weight that INT8 kernels multiply with, float32."""
        return self.codes.astype(np.float32) * self.scale.reshape(-1, *[1] * (self.codes.ndim - 1))


@dataclass(frozen=True)
class Layer:
    """An INT8 layer: the names of its node, its input tensor, its weight, its bias and its output tensor.

    Args:
        output: behind its ReLU or ReLU6, if it has one.
        gate: it computes a squeeze-excitation's gate.
        depthwise: each of its output channels reads one input channel of its own.
    """

    node: str
    input: str
    weight: str
    bias: str
    output: str
    gate: bool = False
    depthwise: bool = False


@dataclass(frozen=True)
class QuantizerTable:
    """Quantizers by tensor name, for one graph, one calibration set and one runtime's profile.

    Args:
        biases: (output channels,) float32 by name, of every INT8 layer; corrected ones replace the graph's.
    """

    activations: dict[str, ActivationQuantizer]
    weights: dict[str, WeightQuantizer]
    biases: dict[str, Float]
    layers: tuple[Layer, ...]

    def without(self, nodes: Collection[str]) -> "QuantizerTable":
        """The table in which these layers stay float, and all others keep their codes.

        Their weights and biases leave it, and so do the quantizers of tensors that only they read in eight bits, or
        write, with nothing behind them that computes from codes.
        """
        layers = tuple(layer for layer in self.layers if layer.node not in nodes)
        read = {layer.input for layer in layers}
        written = {layer.output for layer in self.layers if layer.node in nodes}
        activations = {}
        for name, quantizer in self.activations.items():
            roles = quantizer.roles if name in read else quantizer.roles - {Role.INPUT}
            if name in written and Role.ACTIVATION not in roles:
                roles -= {Role.OUTPUT}
            activations[name] = replace(quantizer, roles=roles)
        return QuantizerTable(
            {name: quantizer for name, quantizer in activations.items() if quantizer.roles},
            {layer.weight: self.weights[layer.weight] for layer in layers},
            {layer.bias: self.biases[layer.bias] for layer in layers},
            layers,
        )


def make_table(
    graph: Graph,
    placement: Placement,
    ranges: dict[str, Range],
    signed: Collection[str] = (),
    reduced_range: bool = False,
) -> QuantizerTable:
    """Scales and codes from observed ranges.

    A tensor that is the same for every image, because its layer's weights are zero, is no mistake of the images: any
    scale is exact for it. One that was the same on these images alone says that they do not excite the network.

    Args:
        signed: tensors with signed codes and no zero-point.
        reduced_range: weights are for kernels that add products in pairs, see ``saturation.py``.

    Raises:
        InputError: a tensor that never varied on these images, or a weight that is not finite.
    """
    fixed = fixed_tensors(graph)
    for name in placement.roles:  # in the graph's order
        if ranges[name].low == ranges[name].high and name not in fixed:
            raise _never_varies(name, ranges[name])
    activations = {
        name: activation_quantizer(name, ranges[name], roles, name in signed)
        for name, roles in sorted(placement.roles.items())
    }
    nodes = {node.name: node for node in graph.nodes}
    layers, weights, biases = [], {}, {}
    for name in placement.layers:
        source, weight, bias = nodes[name].input
        exact = graph.weights[weight].astype(np.float32)
        output = activation_output(graph, nodes[name])
        layer = Layer(name, source, weight, bias, output, name in placement.gates, is_depthwise(nodes[name], exact))
        layers.append(layer)
        biases[layer.bias] = graph.weights[layer.bias].astype(np.float32)
        weights[layer.weight] = weight_quantizer(
            layer.weight,
            exact,
            biases[layer.bias],
            activations[layer.input].scale,
            code_limits(nodes[name], exact, reduced_range),
        )
    return QuantizerTable(activations, weights, biases, tuple(layers))


def activation_quantizer(
    name: str, observed: Range, roles: frozenset[Role], symmetric: bool = False
) -> ActivationQuantizer:
    """Min-max, widened to hold zero, which must have a code of its own: padding is made of it.

    A tensor that is always zero has any scale; it gets that of 0..1, which leaves room for its layer's int32 bias.

    Args:
        symmetric: zero is code 0, and the larger end decides the scale; a tensor that is never negative leaves half of
            the codes unused.

    Raises:
        InputError: the range is not finite, or so narrow that its scale would be denormal.
    """
    if not np.isfinite(observed).all():
        raise InputError(f"calibration: {in_module(name)} has the range {observed.low} to {observed.high}, not finite")
    low, high = min(observed.low, 0.0), max(observed.high, 0.0)
    if (low, high) == NOTHING:
        high = 1.0
    steps = max(-low, high) / SIGNED_MAX if symmetric else (high - low) / LEVELS
    # Rounded towards zero: all steps together never reach beyond a ReLU6's own bound, which lets runtimes drop it.
    scale = np.nextafter(np.float32(steps), np.float32(0))
    if not scale >= np.finfo(np.float32).tiny:
        raise _never_varies(name, observed)
    zero_point = 0 if symmetric else int(np.clip(np.rint(-low / scale), 0, LEVELS))
    return ActivationQuantizer(float(scale), zero_point, roles, symmetric)


def _never_varies(name: str, observed: Range) -> InputError:
    return InputError(
        f"calibration: {in_module(name)} never varies ({observed.low:g} to {observed.high:g} on all images), so that"
        " no scale describes it; calibrate on images like those the network was trained for, or keep floats with --fp16"
    )


def weight_quantizer(
    name: str, weight: Float, bias: Float, input_scale: float, limits: Limits = EIGHT_BITS
) -> WeightQuantizer:
    """Symmetric per output channel, with a floor under the scales of dead channels.

    Args:
        weight: (out, ...) float32.
        bias: (out,) float32.
        input_scale: of the layer's input quantizer.
        limits: of its codes.

    Raises:
        InputError: the weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise InputError(f"weight {name!r} holds NaN or infinite values")
    widest, largest = limits.widest(weight), limits.largest
    top = widest.max() if widest.max() > 0 else np.float32(1)
    floor = np.full(len(weight), top / largest * NARROWEST_CHANNEL, np.float32)
    floor = np.maximum(floor, (np.abs(bias) + RAISED_BY) / np.float32(input_scale * BIAS_LIMIT))
    # The product with the input's scale is the accumulator's unit; denormal, it would have no digits left.
    tiny = np.finfo(np.float32).tiny
    floor = np.maximum(floor, max(tiny, np.float32(tiny / input_scale)))
    scale = np.maximum(widest / np.float32(largest), floor).astype(np.float32)
    codes = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return WeightQuantizer(np.clip(codes, -largest, largest).astype(np.int8), scale)
