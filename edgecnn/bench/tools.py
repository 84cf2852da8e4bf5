"""What a machine's own command-line tools print, where they are installed."""

import shutil
import subprocess

LIMIT_S = 10


def said(tool: str, *arguments: str) -> str:
    """What a tool prints; nothing where it is missing, fails or hangs."""
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  # fixed tools with fixed arguments
            [path, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
