"""The tables of the page in a real browser: every one sorts, fits, and says the same as the run."""

from pathlib import Path

import msgspec
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from edgecnn.bench.record import Energy, Roofline, Run
from edgecnn.report.page import render
from tests.browser.conftest import PHONE, Save, Viewer, head, names
from tests.made_up import made_up_run, manifest, row


def test_sorting_goes_by_value(viewer: Viewer, page: Path) -> None:
    """9.7 is less than 10.4, and what is not known is last both ways."""
    viewer.show(page)
    fastest = ["small-openvino-int8", "small-onnxruntime-int8", "small-onnx-fp32", "eager"]
    for order, expected in (("ascending", fastest), ("descending", fastest[::-1])):
        head(viewer, "p50").find_element(By.TAG_NAME, "button").click()
        assert names(viewer) == [*expected, "small-tensorrt-int8"]
        assert head(viewer, "p50").get_attribute("aria-sort") == order
    head(viewer, "Row").find_element(By.TAG_NAME, "button").click()
    assert names(viewer) == sorted(names(viewer))
    assert head(viewer, "p50").get_attribute("aria-sort") is None


def first_cells(viewer: Viewer, table: WebElement) -> list[str]:
    """Texts of each row's heading, closed or open."""
    return viewer.run("return [...arguments[0].tBodies[0].rows].map(at => at.cells[0].textContent.trim())", table)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("region", "title", "order"),
    [
        ("What changed", "Slow-down", ["small-onnxruntime-int8", "small-openvino-int8"]),
        ("More figures", "Mean", ["small-openvino-int8", "small-onnxruntime-int8", "eager"]),
        ("More figures", "Of peak", ["small-openvino-int8", "small-onnxruntime-int8", "eager"]),
        ("Kernels", "Profiled", ["features.2.0", "features.1.0", "features.0.0"]),
        ("Parity", "SQNR", ["lowered", "compiled", "eager"]),
        ("Rungs", "Agreement", ["equalization", "min-max"]),
    ],
)
def test_every_table_of_numbers_sorts_by_keyboard(
    viewer: Viewer, saved: Save, region: str, title: str, order: list[str]
) -> None:
    def run(seed: int, slower: float) -> Run:
        made = made_up_run({"small-openvino-int8": slower}, seed, rows={"small-onnx-fp32": None})
        peaks = {"small-openvino-int8": 0.1, "small-onnxruntime-int8": 0.25, "eager": 0.9}
        changes = {
            row.name: msgspec.structs.replace(
                row, layers=row.layers[:3], roofline=Roofline("int8", 1.0, 1.0, peaks[row.name])
            )
            for row in made.rows[:-1]
        }
        return msgspec.structs.replace(made, rows=(*changes.values(), made.rows[-1]))

    viewer.show(saved(render([("old.json", run(0, 1.0)), ("new.json", run(1, 1.5))])))
    viewer.run("for (const closed of document.querySelectorAll('details')) closed.open = true")
    viewer.run("for (const hidden of document.querySelectorAll('.detail')) hidden.hidden = false")
    found = viewer.driver.find_elements(By.CSS_SELECTOR, ".scroll")
    table = next(
        at.find_element(By.TAG_NAME, "table")
        for at in found
        if at.accessible_name.startswith(region) and len(at.find_elements(By.CSS_SELECTOR, "tbody tr")) >= len(order)
    )
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")
    chosen = next(at for at in heads if at.text.startswith(title))
    button = chosen.find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert chosen.get_attribute("aria-sort") == "ascending"
    ascending = [name for name in first_cells(viewer, table) if name in order]
    button.send_keys(Keys.SPACE)
    assert chosen.get_attribute("aria-sort") == "descending"
    descending = [name for name in first_cells(viewer, table) if name in order]
    assert descending == ascending[::-1]
    assert ascending == order
    heads[0].find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert [at.get_attribute("aria-sort") for at in heads] == ["ascending"] + [None] * (len(heads) - 1)


def test_there_is_no_table_that_does_not_sort(viewer: Viewer, two: Path) -> None:
    viewer.show(two)
    assert viewer.run("return document.querySelectorAll('thead th:not([data-sort])').length") == 0
    assert viewer.run("return document.querySelectorAll('thead th[data-sort] button').length") > 40


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_the_median_and_the_ratio_without_scrolling(viewer: Viewer, page: Path, dark: bool) -> None:
    viewer.show(page, PHONE, dark)
    for title in ("p50", "Ratio"):
        box = head(viewer, title).rect
        assert box["x"] + box["width"] <= PHONE[0], title


def test_notes_are_below_the_table_and_do_not_stretch_its_rows(viewer: Viewer, saved: Save) -> None:
    """Rows of the difference were 370 pixels high and blank, their notes beyond the edge of a phone."""
    reasons = tuple(f"reason {number}: other processes used half of the processor time" for number in range(5))
    runs = [
        (
            f"{seed}.json",
            made_up_run(
                seed=seed,
                rows={
                    row.name: msgspec.structs.replace(row, unstable=reasons) for row in made_up_run(seed=seed).rows[:-1]
                },
            ),
        )
        for seed in (0, 1)
    ]
    viewer.show(saved(render(runs)), PHONE)
    heights = viewer.run(
        "return [...document.querySelectorAll('[aria-labelledby=changes] tbody tr')].map(at => at.offsetHeight)"
    )
    assert len(heights) == 5
    assert max(heights) < 80
    notes = viewer.driver.find_element(By.CSS_SELECTOR, ".notes")
    assert notes.text.count("reason 0") == 2  # of the old run and of the new one
    assert notes.rect["x"] + notes.rect["width"] <= PHONE[0]


def test_a_desktop_shows_a_whole_benchmark(viewer: Viewer, saved: Save) -> None:
    """Longest names and words of a real one, and energy that was measured: nothing is cut off at 1280 pixels."""
    built = manifest(status="not gated")
    built["evidence"]["executed"] = False
    mixed = {"fp32": 0.893, "int8": 0.107}
    made = {
        name: row(name, 1234.5, executed=mixed, energy=Energy(0.0123, "RAPL", ""), images_per_s=1234.5)
        for name in ("small-onnxruntime-int8", "small-openvino-int8", "small-onnx-fp32")
    }
    made["small-tensorrt-int8"] = row("small-tensorrt-int8", 1.0, times=None, status="no driver", manifest=built)
    viewer.show(saved(render([("run.json", made_up_run(rows=made))])))
    inner, whole = viewer.run(
        "const at = document.querySelector('table.rows').parentElement; return [at.clientWidth, at.scrollWidth]"
    )
    assert whole <= inner


def test_kernels_show_their_times_without_scrolling(viewer: Viewer, page: Path) -> None:
    viewer.show(page)
    viewer.run("for (const closed of document.querySelectorAll('.detail details')) closed.open = true")
    region = next(
        at for at in viewer.driver.find_elements(By.CSS_SELECTOR, "[aria-label^='Kernels of']") if at.is_displayed()
    )
    share = region.find_elements(By.TAG_NAME, "th")[2]
    assert share.text == "Share"
    assert share.rect["x"] + share.rect["width"] <= region.rect["x"] + region.rect["width"]


def test_only_real_failures_are_red(viewer: Viewer, saved: Save) -> None:
    built = manifest()
    built["evidence"]["executed"] = False
    made = {
        "small-tensorrt-int8": row("small-tensorrt-int8", 1.0, times=None, status="no driver", manifest=built),
        "small-onnx-fp32": row("small-onnx-fp32", 9.7, manifest=manifest(status="rejected")),
    }
    viewer.show(saved(render([("run.json", made_up_run(rows=made))])))
    red = [at.text for at in viewer.driver.find_elements(By.CSS_SELECTOR, ".rows td.bad")]
    assert red == ["rejected"]
    assert "verified, not run" in [at.text for at in viewer.driver.find_elements(By.CSS_SELECTOR, ".rows td")]


def test_layers_are_sorted_and_their_sums_stay_below(viewer: Viewer, page: Path) -> None:
    viewer.show(page)
    order = "return [...document.querySelectorAll('.layers tr > :first-child')].slice(1).map(at => at.textContent)"
    before = viewer.run(order)
    assert (before[0], before[-1]) == ("features.0.0", "(10 other modules)")
    heads = viewer.driver.find_elements(By.CSS_SELECTOR, ".layers thead th")
    heads[1].find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert heads[1].get_attribute("aria-sort") == "ascending"
    assert viewer.run(order) == [*before[-2::-1], before[-1]]


def test_signs_and_digits_are_part_of_a_value(viewer: Viewer, saved: Save) -> None:
    """-0.25 is less than -0.1, and 0.35 less than 0.4, which letter by letter they are not."""
    top1 = {"small-openvino-int8": 0.943, "small-onnxruntime-int8": 0.9385, "small-onnx-fp32": 0.938}
    made = {name: row(name, 1.0, manifest=manifest(value)) for name, value in top1.items()}
    made["small-onnx-int8"] = row("small-onnx-int8", 1.0, manifest=manifest(0.9445))
    viewer.show(saved(render([("run.json", made_up_run(rows=made))])))
    head(viewer, "Drop").find_element(By.TAG_NAME, "button").click()
    order = ["small-onnx-int8", "small-openvino-int8", "small-onnxruntime-int8", "small-onnx-fp32"]
    assert names(viewer)[:4] == order
