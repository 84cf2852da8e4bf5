"""What the agent and the job promise about the board's side."""

import ast
import re
import tomllib
from pathlib import Path

from edgecnn.remote.jobs import BASE_MODULES, PYTHON
from edgecnn.remote.session import AGENT, BOOTSTRAP, OLDEST
from edgecnn.remote.ssh import Host

ROOT = Path(__file__).parents[3]
MODULES = {"pillow": "PIL"}


def test_the_agent_is_python_3_8_and_stands_alone() -> None:
    tree = ast.parse(AGENT.read_text("utf-8"), feature_version=OLDEST)
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in names if name is None or name.startswith("edgecnn")]


def test_the_bootstrap_passes_any_shell() -> None:
    code = BOOTSTRAP.format(oldest="3,8", length=1)
    assert not set("'\\!\n") & set(code)
    assert Host("board").command(code)[-2:] == ["board", f"exec python3 -c '{code}'"]
    ast.parse(code, feature_version=OLDEST)


def test_a_job_asks_for_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"\W", line)[0] for line in project["dependencies"]]
    assert sorted(MODULES.get(name, name) for name in names) == sorted(BASE_MODULES)
    assert project["requires-python"] == f">={PYTHON[0]}.{PYTHON[1]}"
