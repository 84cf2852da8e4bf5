"""Graphs: folding in PyTorch, export to ONNX, and the checks that every graph passes."""
