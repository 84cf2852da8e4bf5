"""What is in the page; what a browser makes of it is in tests/browser."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from edgecnn.bench.record import Run, encode
from edgecnn.report.page import render
from tests.made_up import MACHINE, made_up_run, row

LARGEST_BYTES = 600_000


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """In another process, with other hashes of texts."""
    run = made_up_run()
    (tmp_path / "run.json").write_bytes(encode(run))
    subprocess.run(
        [sys.executable, "-m", "edgecnn", "report", "run.json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "report.html").read_text("utf-8") == render([("run.json", run)])


def test_the_page_is_light() -> None:
    assert len(render([("run.json", made_up_run())]).encode()) < LARGEST_BYTES


def test_the_run_is_inside_and_cannot_leave_its_block() -> None:
    hostile = "</script><img src=x onerror=alert(1)><!--<script>&\u2028"
    renamed = msgspec.structs.replace(row("eager", 10.0), name=hostile)
    run = made_up_run(rows={"eager": renamed}, verdict=hostile)
    page = render([(hostile, run)])
    blocks = re.findall(r'<script type="application/json" id="run0-json">(.*?)</script>', page, re.DOTALL)
    assert len(blocks) == 1
    assert msgspec.json.decode(blocks[0].encode(), type=Run) == run
    assert json.loads(blocks[0])["verdict"] == hostile
    assert "<img" not in page
    assert page.count("<script") == 2


def test_two_runs_say_what_changed_and_begin_with_the_newer() -> None:
    old, new = made_up_run(), made_up_run({"small-openvino-int8": 1.5}, seed=1, verdict="the newer one")
    page = render([("old.json", old), ("new.json", new)])
    assert "What changed" in page
    assert page.index("the newer one</h1>") < page.index("ship small-openvino-int8</h1>")
    assert re.search('class="text bad"[^>]*>slower<', page)


def test_two_machines_are_not_compared() -> None:
    other = made_up_run(seed=1, machine_is={**MACHINE, "cpu": {"model": "Another CPU"}})
    page = render([("old.json", made_up_run()), ("new.json", other)])
    assert "cannot be compared" in page


def test_three_runs_stand_in_their_order() -> None:
    runs = [(f"{index}.json", made_up_run(seed=index, verdict=f"run {index}")) for index in range(3)]
    page = render(runs)
    places = [page.index(f"run {index}</h1>") for index in range(3)]
    assert places == sorted(places)
    assert "What changed" not in page


def test_a_run_in_which_nothing_worked_is_still_a_page() -> None:
    nothing = made_up_run(rows={made.name: None for made in made_up_run().rows[:-1]}, verdict="")
    page = render([("run.json", nothing)])
    assert "Nothing could be timed.</h1>" in page
    assert "no NVIDIA driver (libcuda.so.1)" in page
    assert "<svg" not in page


def test_layers_stand_side_by_side_where_there_are_several() -> None:
    page = render([("run.json", made_up_run())])
    table = page[page.index('<table class="layers">') :]
    table = table[: table.index("</table>")]
    assert table.count('<th scope="col"') == 4
    assert table.count('<th scope="row"') == 21
    assert table.index("<tfoot>") < table.index("(10 other modules)")
    one = {name: row(name, 1.0, layers=()) for name in ("small-onnxruntime-int8", "small-onnx-fp32")}
    assert "side by side" not in render([("run.json", made_up_run(rows=one))])
