"""The profile of each runtime: which Q/DQ nodes it gets, how a bias is written, and which layers it runs in float.

A profile spells whatever table it is given with the codes of that table. Ladders are climbed for one profile each, so
the tables of two targets need not have the same codes.

Times are medians of interleaved runs on one core with VNNI, 224×224, relative to the profile as it stands.
"""

from edgecnn.quant.lower.qdq import Profile
from edgecnn.quant.placement import Role

# OpenVINO fuses an activation into the convolution when nothing stands between them. Float gates cost MobileNetV3-Large
# 10 to 13 %, Small 4 to 5 %. Codes on the skip input of an Add gain nothing (0.98 to 1.02, as between two runs of one
# graph) and cost EfficientNet-Lite0 0.6 dB. Nor does anything else that was tried: codes on both inputs of an Add
# (within 2 %), codes behind depthwise layers for the pool and the product of a gate (to +2 %), a float stem (to +9 %),
# classifier (+1 to +22 %) or first depthwise layer (+2 to +7 %). All depthwise layers float is +25 % in MobileNetV2 and
# EfficientNet-Lite0, but only +6 to +8 % in MobileNetV3 and +2 % in EfficientNet-B0, where SiLU alone takes a third.
OPENVINO = Profile("openvino", frozenset({Role.INPUT}), int8_gates=True, raised=True)

# ONNX Runtime's CPU kernels are INT8 to INT8: without a quantized output a convolution runs in float.
ONNXRUNTIME = Profile("onnxruntime", frozenset(Role), int8_gates=True, int32_bias=True, from_codes=True)

# TensorRT's kernels know no zero-point and read one scale per activation. An Add's convolution is left bare and its
# skip has codes, which decides what the fused kernel writes. Gates are vectors, and so are linear layers at batch 1,
# for which there is no INT8 kernel; depthwise kernels want channels in multiples of eight.
TENSORRT = Profile(
    "tensorrt", frozenset({Role.INPUT, Role.SKIP}), int8_linear=False, depthwise_multiple=8, symmetric=True
)

# The portable graph: the fewest nodes, read well by everything that fuses on its own.
PORTABLE = Profile("portable", frozenset({Role.INPUT}))
