"""Pinned downloads into the user's cache: complete and right, or not there at all."""

from pathlib import Path

import platformdirs

from edgecnn.errors import IntegrityError, StorageError, UnavailableError


def cache_folder() -> Path:
    """Where downloads are kept; ``XDG_CACHE_HOME`` moves it."""
    return Path(platformdirs.user_cache_dir("edgecnn"))


def download(url: str, sha256: str | None, path: Path, *, otherwise: str) -> Path:
    """Returns ``path``, downloaded from ``url`` first where it is missing.

    Args:
        sha256: of the whole file, checked on cached files too; None where the caller checks the content.
        otherwise: what a user without a network can do instead.

    Raises:
        IntegrityError: the file's hash is another, or the transfer was cut off; nothing is left behind.
        StorageError: the cache cannot be written to.
        UnavailableError: the address cannot be reached.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # it would print a line of its own for each file
    try:
        # pooch writes to a temporary file beside the target, checks its hash, and only then renames it.
        pooch.retrieve(url, sha256, fname=path.name, path=path.parent, progressbar=False)
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise IntegrityError(f"{url}: the transfer was cut off ({error}); nothing was kept, run again") from error
    except requests.exceptions.RequestException as error:
        raise UnavailableError(f"{url} cannot be reached ({type(error).__name__}); {otherwise}") from error
    except OSError as error:  # requests' own are handled above
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); set XDG_CACHE_HOME to a folder with room"
        ) from error
    except ValueError as error:  # pooch's word for a wrong hash
        raise IntegrityError(f"{url}: sha256 differs from the pinned {sha256}; nothing was kept ({error})") from error
    return path
