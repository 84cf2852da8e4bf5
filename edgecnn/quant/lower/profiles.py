"""The profile of each runtime. Same codes everywhere; only the set of Q/DQ nodes and the bias differ.

Times are medians of interleaved runs on one core with VNNI, 224×224, relative to the profile as it stands; of networks
with biases, for a random network's are zero, and OpenVINO drops those with what they would cost.
"""

from dataclasses import replace

from edgecnn.quant.lower.qdq import Profile
from edgecnn.quant.placement import Role

# OpenVINO fuses an activation into the convolution when nothing stands between them, and a residual Add when the branch
# is codes too: the Add is a kernel of its own otherwise, 0 to 3 % on one core and 1 to 4 % on two. The branch's codes
# move the refined logits of Lite0, B0 and both MobileNetV3 by −0.2 to +0.2 dB. Zero-points that stay cost 2 to 5 %; see
# zero_points.py. Float gates cost MobileNetV3-Large 10 to 13 %, Small 4 to 5 %. What else was tried gains nothing:
# biases folded into the quantizers behind them (within 1 %), codes behind depthwise layers for the pool and the gate's
# product (0 to +2 %), a float stem (+2 to +9 %), classifier (+1 to +22 %) or first depthwise layer (+2 to +4 %). All
# depthwise layers float is +25 % in MobileNetV2 and EfficientNet-Lite0, but only +6 to +8 % in MobileNetV3 and +2 % in
# EfficientNet-B0, where SiLU alone takes a third of the time.
OPENVINO = Profile(
    "openvino",
    frozenset({Role.INPUT, Role.SKIP, Role.BRANCH}),
    int8_gates=True,
    zero_points_in_biases=True,
)

# What refinement runs, layer by layer: OpenVINO's codes, and every bias and zero-point in its own place.
REFINEMENT = replace(OPENVINO, name="refinement", zero_points_in_biases=False)

# ONNX Runtime's CPU kernels are INT8 to INT8: without a quantized output a convolution runs in float.
ONNXRUNTIME = Profile("onnxruntime", frozenset(Role), int32_bias=True)

# The portable graph: the fewest nodes, read well by everything that fuses on its own.
PORTABLE = Profile("portable", frozenset({Role.INPUT, Role.SKIP}))
