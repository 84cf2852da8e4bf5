"""INT8: where quantizers go, what ranges they have, and how each runtime wants them spelled."""
