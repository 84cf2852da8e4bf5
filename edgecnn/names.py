"""Names that every stage and every runtime agrees on."""

__version__ = "0.1.0"

INPUT = "image"
OUTPUT = "logits"
BATCH = "N"  # the batch dimension, where it is dynamic
LARGEST_BATCH = 1024  # beyond it a slip of the finger is likelier than a wish, and memory runs out without a message
PRECISIONS = ("fp32", "fp16", "int8")
SYNTHETIC = "synthetic"  # the calibration set that is made from the network alone
MODES = LATENCY, THROUGHPUT = ("latency", "throughput")  # of bench: one call at a time, or as many as the runtime likes
DURATION_S = 3.0  # of bench's counted calls, for each row, unless told
EFFORTS = FAST, BALANCED, BEST = ("fast", "balanced", "best")  # how far INT8 climbs
