"""A table that a pull request shows as a table, whatever its rows are called."""

from markdown_it import MarkdownIt

from edgecnn.report.markdown import markdown, text
from tests.made_up import MACHINE, made_up_run, row

HOSTILE = "a|b`c*d_e[f](javascript:alert(1))</td><img src=x onerror=alert(1)>&amp;@here https://example.com #1"


def rendered(source: str) -> str:
    return str(MarkdownIt("gfm-like", {"linkify": False}).render(source))


def test_a_run_is_a_verdict_a_table_and_its_warnings() -> None:
    found = rendered(markdown([("run.json", made_up_run())]))
    assert "<strong>ship small-openvino-int8</strong>" in found
    assert "Made-up CPU" in found
    assert found.count("<tr>") == 6
    assert "small-onnx-fp32 ⚠" in found
    assert "<li>small-tensorrt-int8: no NVIDIA driver (libcuda.so.1)</li>" in found
    assert "<li>small-onnx-fp32 is unstable: spread 31 %</li>" in found
    assert "94.30" in found


def test_two_runs_say_what_changed() -> None:
    old, new = made_up_run(), made_up_run({"small-openvino-int8": 1.5}, seed=1)
    source = markdown([("old.json", old), ("new.json", new)])
    assert rendered(source).count("<table>") == 2
    assert "slow-down %, against eager" in source
    changed = next(line for line in source.splitlines()[8:] if line.startswith("| small-openvino-int8 | 1."))
    assert "| +4" in changed or "| +5" in changed
    assert "the machine's own" in source


def test_runs_of_two_machines_say_so_and_stand_alone() -> None:
    other = made_up_run(seed=1, machine_is={**MACHINE, "cpu": {"model": "Another CPU"}})
    found = rendered(markdown([("old.json", made_up_run()), ("new.json", other)]))
    assert "<blockquote>" in found
    assert "cannot be compared" in found
    assert found.count("<table>") == 2
    assert found.index("batch 1; Another CPU") < found.index("batch 1; Made-up CPU")


def test_names_stay_names() -> None:
    run = made_up_run(rows={"eager": row("eager", 10.0, model="small")}, verdict=HOSTILE)
    found = rendered(markdown([("run.json", run)]))
    assert "<img" not in found
    assert "<a " not in found
    assert "<code>" not in found
    assert "<em>" not in found
    assert found.count("<td") == found.count("</td>") == 5 * (found.count("<th") - 1)


def test_what_markdown_shows_is_what_was_said() -> None:
    shown = rendered(text(HOSTILE))
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, sign)
    assert shown == f"<p>{HOSTILE}</p>\n"
