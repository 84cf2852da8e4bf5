"""Names that every stage and every runtime agrees on."""

__version__ = "0.1.0"

INPUT = "image"
OUTPUT = "logits"
PRECISIONS = ("fp32", "fp16", "int8")
