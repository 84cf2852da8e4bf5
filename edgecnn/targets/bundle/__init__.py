"""What travels to a device, and runs there on Python 3.8, NumPy and TensorRT alone.

The targets here use the same builder, reader and runner. No module imports another of edgecnn: on the device they lie
side by side without it.
"""
