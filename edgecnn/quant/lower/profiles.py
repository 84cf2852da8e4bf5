"""The profile of each runtime. Same codes everywhere; only the set of Q/DQ nodes and the bias differ."""

from edgecnn.quant.lower.qdq import Profile
from edgecnn.quant.placement import Role

# OpenVINO fuses activation and residual Add into the convolution when nothing stands between them.
OPENVINO = Profile("openvino", frozenset({Role.INPUT, Role.SKIP}))

# ONNX Runtime's CPU kernels are INT8 to INT8: without a quantized output a convolution runs in float.
ONNXRUNTIME = Profile("onnxruntime", frozenset(Role), int32_bias=True)

# The portable graph: the fewest nodes, read well by everything that fuses on its own.
PORTABLE = Profile("portable", frozenset({Role.INPUT, Role.SKIP}))
