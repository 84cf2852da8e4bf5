"""What a board runs of this package to verify: a check as one JSON document that ``boards`` reads whole.

python -m edgecnn.remote.there ARTIFACT [IMAGES] [MAX_DROP_PP]
"""

import sys
from pathlib import Path

import msgspec

from edgecnn.errors import EdgecnnError, printable
from edgecnn.pipeline import verify


def main(arguments: list[str]) -> int:
    """The exit code; the verdict is in the document, and whoever reads that judges by it.

    Args:
        arguments: the artifact's folder, then images and largest drop, empty where they are not told.
    """
    folder, images, max_drop = arguments
    try:
        verification = verify(Path(folder), images or None, float(max_drop) if max_drop else None)
    except EdgecnnError as error:
        print(f"edgecnn: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(msgspec.json.encode(verification))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
