"""What a board answers, as what it is here."""

import pytest

from edgecnn.errors import BusyError, EdgecnnError, ParityError, StorageError, UnavailableError
from edgecnn.remote.jobs import refusal
from edgecnn.remote.session import Done
from edgecnn.remote.ssh import Host


@pytest.mark.parametrize(
    ("code", "kind"), [(6, ParityError), (8, StorageError), (75, BusyError), (1, EdgecnnError), (127, UnavailableError)]
)
def test_a_refusal_keeps_its_kind(code: int, kind: type[EdgecnnError]) -> None:
    found = refusal(Host("board"), Done(code, "", "one\nedgecnn: another process is writing there\n"))
    assert type(found) is kind
    assert str(found) == "board: another process is writing there"
