"""The README's code blocks, run as a newcomer would: from the wheel, in a new environment, in an empty directory."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import skimage

from edgecnn.recipe import Gate, load_recipe

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(README)]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An empty directory with one picture in it, and an environment in which ``python`` is a new virtual one."""
    home = tmp_path_factory.mktemp("newcomer")
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    directory = home / "empty"
    directory.mkdir()
    shutil.copy(Path(skimage.__file__).parent / "data" / "chelsea.png", directory / "cat.png")
    environment = {
        **os.environ,
        "PATH": f"{home / 'venv' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
    }
    for name in ("PYTHONPATH", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    return directory, environment


def test_every_block_runs(newcomer: tuple[Path, dict[str, str]]) -> None:
    directory, environment = newcomer
    assert [language for language, _ in BLOCKS if language in ("bash", "python")], "the README shows no commands"
    for language, code in BLOCKS:
        if language in ("text", "toml"):  # what a command printed, and a file that another test reads
            continue
        assert language in ("bash", "python"), f"a block in {language!r} is not run by any test"
        if language == "bash":
            # The install line is meant for a clone; everything after it for anywhere.
            install = "pip install" in code
            where = ROOT if install else directory
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code], cwd=where, env=environment, capture_output=True
            )
        else:
            done = subprocess.run(["python", "-c", code], cwd=directory, env=environment, capture_output=True)
        assert done.returncode == 0, f"{code}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    answer = subprocess.run(
        ["edgecnn", "predict", "efficientnet_lite0-openvino-int8", "cat.png"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert " cat" in answer.stdout
    where_from = subprocess.run(
        ["python", "-c", "import edgecnn; print(edgecnn.__file__)"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "site-packages" in where_from.stdout, "the wheel was not what ran"


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (content,) = [code for language, code in BLOCKS if language == "toml"]
    (tmp_path / "mine.toml").write_text(content)
    for name in ("mine.safetensors", "classes.txt", "photos", "validation.csv"):
        (tmp_path / name).touch()
    recipe = load_recipe("mobilenetv3_small", tmp_path / "mine.toml")
    data = recipe.data(str(recipe.weights))
    named = {recipe.weights, data.labels, data.calibration, data.evaluation}
    assert named == {str(path) for path in tmp_path.iterdir()} - {str(tmp_path / "mine.toml")}
    assert recipe.gate == Gate()


def test_links_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
            if link.startswith("https://"):
                continue
            named, _, anchor = link.partition("#")
            there = document.parent / named if named else document
            assert there.exists(), f"{document.name}: {link}"
            assert not anchor or anchor in anchors(there.read_text("utf-8")), f"{document.name}: {link}"


def anchors(markdown: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
