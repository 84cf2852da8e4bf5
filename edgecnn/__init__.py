"""Efficient CNNs from PyTorch to devices, with the evidence that they still answer the same."""

__version__ = "0.1.0"
