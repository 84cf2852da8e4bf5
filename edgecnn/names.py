"""Names that every stage and every runtime agrees on."""

INPUT = "image"
OUTPUT = "logits"
PRECISIONS = ("fp32", "fp16", "int8")
