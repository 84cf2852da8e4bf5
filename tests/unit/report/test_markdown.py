"""A table that a pull request shows as a table, whatever its rows are called."""

import msgspec
from markdown_it import MarkdownIt

from edgecnn.report.markdown import markdown, text
from tests.made_up import MACHINE, made_up_run, manifest, row, times

HOSTILE = "a|b`c*d_e[f](javascript:alert(1))</td><img src=x onerror=alert(1)>&amp;@here https://example.com #1"


def rendered(source: str) -> str:
    return str(MarkdownIt("gfm-like", {"linkify": False}).render(source))


def test_a_run_is_a_verdict_a_table_and_its_warnings() -> None:
    found = rendered(markdown([("run.json", made_up_run())]))
    assert "<strong>ship small-openvino-int8</strong>" in found
    assert "Made-up CPU" in found
    assert found.count("<tr>") == 2 * 6
    assert "small-onnx-fp32 ⚠" in found
    assert "<li>small-tensorrt-int8: no NVIDIA driver (libcuda.so.1)</li>" in found
    assert "<li>small-onnx-fp32: unstable: spread 31 %</li>" in found
    assert "94.30" in found


def test_two_runs_say_what_changed() -> None:
    old, new = made_up_run(), made_up_run({"small-openvino-int8": 1.5}, seed=1)
    source = markdown([("old.json", old), ("new.json", new)])
    assert rendered(source).count("<table>") == 3
    assert "slow-down %, against eager" in source
    changed = next(line for line in source.splitlines() if line.startswith("| small-openvino-int8 | +"))
    assert "| +4" in changed or "| +5" in changed
    assert "| slower |" in changed
    assert "| the machine's |" in source


def test_what_befell_all_rows_is_said_once() -> None:
    """Nine rows of one run repeated the same load, and a difference repeated it in every cell."""
    load = "load: other processes used 51% of the processor time"
    runs = [
        made_up_run(seed=seed, rows={made.name: msgspec.structs.replace(made, unstable=(load,)) for made in timed})
        for seed in (0, 1)
        for timed in [made_up_run(seed=seed).rows[:-1]]
    ]
    alone = markdown([("run.json", runs[0])])
    assert f"* all timed rows: energy not measurable: no RAPL on a made-up machine; unstable: {load}" in alone
    assert alone.count(load) == 1
    both = markdown([("old.json", runs[0]), ("new.json", runs[1])])
    assert both.count(load) == 3
    assert f"unstable in the old run: {load}; unstable in the new run: {load}" in both


def test_too_few_calls_for_a_p99_are_said() -> None:
    few = times(10.0, n=50)
    source = markdown([("run.json", made_up_run(rows={"eager": row("eager", 10.0, times=few)}))])
    assert "| few n |" in source
    assert "* eager: p99: few n, 50 calls" in source
    why = row("eager", 10.0, times=few, absences={"p99_ms": "50 calls, expected at least 299"})
    source = markdown([("run.json", made_up_run(rows={"eager": why}))])
    assert "* eager: p99: few n, 50 calls, expected at least 299" in source


def test_an_artifact_that_cannot_run_here_is_no_failure() -> None:
    built = manifest()
    built["evidence"]["executed"] = False
    engine = row("small-tensorrt-int8", 1.0, times=None, manifest=built, status="no NVIDIA driver")
    source = markdown([("run.json", made_up_run(rows={"small-tensorrt-int8": engine}))])
    assert "| verified, not run |" in source
    assert "failed" not in source


def test_runs_of_two_machines_say_so_and_stand_alone() -> None:
    other = made_up_run(seed=1, machine_is={**MACHINE, "cpu": {"model": "Another CPU"}})
    found = rendered(markdown([("old.json", made_up_run()), ("new.json", other)]))
    assert "<blockquote>" in found
    assert "cannot be compared" in found
    assert found.count("<table>") == 4
    assert found.index("batch 1; Another CPU") < found.index("batch 1; Made-up CPU")


def test_names_stay_names() -> None:
    run = made_up_run(rows={"eager": row("eager", 10.0, model="small")}, verdict=HOSTILE)
    found = rendered(markdown([("run.json", run)]))
    assert "<img" not in found
    assert "<a " not in found
    assert "<code>" not in found
    assert "<em>" not in found
    cells = 5 * (found.count("<th>") + found.count("<th "))
    assert found.count("<td") == found.count("</td>") == cells


def test_what_markdown_shows_is_what_was_said() -> None:
    shown = rendered(text(HOSTILE))
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, sign)
    assert shown == f"<p>{HOSTILE}</p>\n"
