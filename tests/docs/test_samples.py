"""README's tables of times are what the runs that are kept beside it print, and not what somebody typed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.bench.record import Run, read_run
from edgecnn.console.benchmark import print_benchmark
from edgecnn.console.timing import print_run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
LEFT_OUT = "..."  # a line of README that stands for others


@pytest.mark.parametrize(("command", "print_table"), [("bench", print_run), ("benchmark", print_benchmark)])
def test_a_table_is_of_the_run_that_is_kept(
    command: str, print_table: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(read_run(ROOT / "docs" / "benchmarks" / f"{command}.json"))
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = sample_behind(command)
    assert len(shown) > 5
    for part in "\n".join(shown).split(f"\n{LEFT_OUT}\n"):
        lines = part.split("\n")
        assert lines[0] in printed
        first = printed.index(lines[0])
        assert printed[first : first + len(lines)] == lines
        printed = printed[first + len(lines) :]
    assert printed == [], "README ends before the run does"


def sample_behind(command: str) -> list[str]:
    """Lines of the first text block behind a command's own."""
    found = re.search(rf"^edgecnn {command} [^\n]*\n```\n\n```text\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [line.rstrip() for line in found[1].split("\n")]
