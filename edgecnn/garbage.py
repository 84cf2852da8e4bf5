"""Python's search for garbage, less often than it likes: beside PyTorch it costs seconds and finds next to nothing."""

import gc

# Allocations between two searches, as mypy has it: Python's own 700 walked PyTorch's million objects again and again,
# for 1.0 s of an INT8 export; now 0.35 s, in the same memory.
THRESHOLDS = (50_000, 20, 100)


def search_seldom() -> None:
    """From now on, in this process."""
    gc.set_threshold(*THRESHOLDS)


def spare_the_living() -> None:
    """What is there now is not searched again.

    At a process's end Python would walk all of it once more, for another second; after long imports it is modules.
    """
    gc.freeze()
