"""The page in a real browser: it is whole, quiet, inert, and can be read and worked by everybody."""

import itertools
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from edgecnn.bench.record import LayerTime, read_run
from edgecnn.report.page import render
from tests.browser.conftest import DESKTOP, PHONE, Save, Viewer, details, head, rows
from tests.made_up import ALONE, SETTINGS, made_up_run, manifest, row

HOSTILE = "\"'></script></style></title><img src=http://127.0.0.1:9/x onerror=window.hacked=1><!--{{ 7 * 7 }}"
CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")


def test_it_renders_in_silence_and_asks_for_nothing(viewer: Viewer, page: Path, two: Path) -> None:
    for shown in (page, two):
        viewer.show(shown)
        assert viewer.driver.find_element(By.TAG_NAME, "h1").text == "ship small-openvino-int8"
        assert [
            found.size["height"] > 100 for found in viewer.driver.find_elements(By.CSS_SELECTOR, "figure .wide svg")
        ]
        assert viewer.complaints() == []
        assert viewer.requests() == [shown.as_uri()]


def test_a_click_shows_the_layers_of_a_row(viewer: Viewer, page: Path) -> None:
    viewer.show(page)
    assert details(viewer) == ["small-openvino-int8"]  # the first that has layers
    rows(viewer)[2].find_element(By.CSS_SELECTOR, "td").click()
    assert details(viewer) == ["small-onnxruntime-int8"]
    shown = next(found for found in viewer.driver.find_elements(By.CSS_SELECTOR, ".detail") if found.is_displayed())
    bars = shown.find_element(By.CSS_SELECTOR, ".bars")
    assert "features.0.0" in bars.text
    assert bars.get_attribute("aria-label").startswith("Milliseconds by module, of ")  # type: ignore[union-attr]
    assert "Not drawn: 6 other modules: " in shown.text
    for words in ("lowered", "33.5", "min-max", "equalization", "features.1.block.0.0/Conv", "52 of 52"):
        assert words in shown.text


def test_the_keyboard_does_what_the_mouse_does(viewer: Viewer, page: Path) -> None:
    viewer.show(page)
    for _ in range(40):
        viewer.driver.switch_to.active_element.send_keys(Keys.TAB)
        chosen = viewer.driver.switch_to.active_element
        if chosen.tag_name == "button" and "small-onnx-fp32" in chosen.text:
            break
    chosen.send_keys(Keys.ENTER)
    assert details(viewer) == ["small-onnx-fp32"]
    assert chosen.get_attribute("aria-expanded") == "true"
    assert viewer.run("return getComputedStyle(arguments[0]).outlineStyle", chosen) == "solid"
    p50 = head(viewer, "p50").find_element(By.TAG_NAME, "button")
    p50.send_keys(Keys.ENTER)
    assert head(viewer, "p50").get_attribute("aria-sort") == "ascending"


def test_dark_and_light(viewer: Viewer, page: Path) -> None:
    def colours() -> tuple[str, str]:
        svg = viewer.driver.find_element(By.CSS_SELECTOR, "figure .wide svg text")
        body = viewer.driver.find_element(By.TAG_NAME, "body")
        return body.value_of_css_property("background-color"), svg.value_of_css_property("fill")

    viewer.show(page)
    light = colours()
    viewer.show(page, dark=True)
    dark = colours()
    assert [one == other for one, other in zip(light, dark, strict=True)] == [False, False]
    toggle = viewer.driver.find_element(By.ID, "theme")
    assert toggle.text == "Light"
    toggle.click()
    assert (colours(), toggle.text) == (light, "Dark")
    toggle.click()
    assert (colours(), toggle.text) == (dark, "Light")


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_screen(viewer: Viewer, two: Path, size: tuple[int, int]) -> None:
    viewer.show(two, size)
    viewer.run("for (const hidden of document.querySelectorAll('.detail')) hidden.hidden = false")
    viewer.run("for (const closed of document.querySelectorAll('details')) closed.open = true")
    inner, whole = viewer.run("return [innerWidth, document.documentElement.scrollWidth]")
    assert inner == size[0]
    assert whole <= inner
    if size == PHONE:
        assert viewer.run(
            "return [...document.querySelectorAll('.scroll')].some(at => at.scrollWidth > at.clientWidth)"
        )
        # Charts are drawn for the width that they have: their words are not shrunk.
        scales = viewer.run(
            "return [...document.querySelectorAll('svg')].filter(at => at.checkVisibility())"
            ".map(at => at.getBoundingClientRect().width / at.viewBox.baseVal.width)"
        )
        assert len(scales) > 5
        assert min(scales) > 0.85


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(viewer: Viewer, two: Path, dark: bool) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5."""
    viewer.show(two, dark=dark)
    viewer.run("for (const hidden of document.querySelectorAll('.detail')) hidden.hidden = false")
    viewer.run("for (const closed of document.querySelectorAll('details')) closed.open = true")
    found = viewer.run(CONTRAST)
    assert len(found) > 300
    assert {text for text, ink, back in found if contrast(ink, back) < 4.5} == set()


@pytest.mark.parametrize("dark", [False, True])
def test_every_mark_can_be_seen(viewer: Viewer, page: Path, dark: bool) -> None:
    """WCAG 2.2, 1.4.11: a contrast of 3."""
    viewer.show(page, dark=dark)
    back = viewer.run("return getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number)")
    for name in ("int8", "bf16", "fp16", "fp32", "other"):
        ink = viewer.run(
            "const at = document.querySelector('svg path'); at.style.fill = `var(--${arguments[0]})`;"
            "return getComputedStyle(at).fill.match(/[0-9.]+/g).map(Number)",
            name,
        )
        assert contrast(ink, back) >= 3, name


def contrast(ink: Sequence[float], back: Sequence[float]) -> float:
    light, dark = sorted((luminance(ink), luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of sRGB, by WCAG 2.2."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in colour[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_charts_and_tables_are_told_to_those_who_do_not_see_them(viewer: Viewer, two: Path) -> None:
    viewer.show(two)
    unnamed = "return [...document.querySelectorAll(arguments[0])].filter(at => !at.matches(arguments[1])).length"
    assert viewer.run("return document.querySelectorAll('[role=img] svg').length") > 5
    assert viewer.run(unnamed, "svg", "[role=img][aria-label] svg") == 0
    assert viewer.run(unnamed, "th", "[scope=col], [scope=row]") == 0
    assert viewer.run(unnamed, "[role=region]", "[aria-label], [aria-labelledby]") == 0
    assert viewer.run(
        "return [...document.querySelectorAll('[aria-labelledby], [aria-controls]')].every(at => "
        "document.getElementById(at.getAttribute('aria-labelledby') ?? at.getAttribute('aria-controls')))"
    )
    ids = viewer.run("return [...document.querySelectorAll('[id]')].map(at => at.id)")
    assert len(ids) == len(set(ids))
    assert viewer.run("return document.documentElement.lang") == "en"


def test_numbers_of_points_do_not_overlap(viewer: Viewer, saved: Save) -> None:
    """As the browser's own font has them, at both widths."""
    near = {f"small-t{at}-int8": row(f"small-t{at}-int8", 1.1 + 0.03 * at, seed=at) for at in range(12)}
    shown = saved(render([("run.json", made_up_run(rows=near))]))
    for size in (PHONE, DESKTOP):
        viewer.show(shown, size)
        boxes = viewer.run(
            "const shown = [...document.querySelectorAll('figure svg')].find(at => at.checkVisibility());"
            "return [...shown.querySelectorAll('text')].filter(at => at.getAttribute('font-weight') === 'bold')"
            ".map(at => [at.textContent, at.getBoundingClientRect()])"
        )
        # Each is there twice, once for its rim.
        found = dict(boxes)
        assert len(boxes) == 2 * len(found)
        assert sorted(int(number) for text in found for number in text.split(",")) == [1, 2, 3, 4, *range(6, 18)]
        for one, other in itertools.combinations(found.values(), 2):
            apart = [one["right"] <= other["left"], other["right"] <= one["left"]]
            # Digits have less height than their line.
            assert any(apart) or abs(one["top"] - other["top"]) >= 12


def test_throughput_is_not_called_latency(viewer: Viewer, saved: Save) -> None:
    settings = msgspec.structs.replace(SETTINGS, mode="throughput")
    viewer.show(saved(render([("run.json", made_up_run(verdict="", settings=settings))])))
    assert "images/s in the median turn" in viewer.driver.find_element(By.TAG_NAME, "h1").text
    charts = viewer.driver.find_element(By.CSS_SELECTOR, ".charts").text
    assert "Accuracy against throughput" in charts
    assert "Every turn" in charts
    assert "latency" not in charts
    assert "p99" not in charts


@pytest.mark.parametrize("dark", [False, True])
def test_who_was_timed_alone_has_a_hollow_mark_that_the_words_explain(viewer: Viewer, saved: Save, dark: bool) -> None:
    engine = row("small-tensorrt-int8", 0.2, absences=ALONE)
    viewer.show(saved(render([("run.json", made_up_run(rows={engine.name: engine}))])), dark=dark)
    captions = [found.text for found in viewer.driver.find_elements(By.CSS_SELECTOR, "figure p")]
    assert ["Hollow" in caption for caption in captions] == [True, True]
    back, fills = viewer.run(
        "return [getComputedStyle(document.body).backgroundColor,"
        "[...document.querySelectorAll('.wide svg [aria-roledescription=point]')].map(at => getComputedStyle(at).fill)]"
    )
    assert fills.count(back) == 1


def test_motion_is_only_for_those_who_want_it(viewer: Viewer, page: Path) -> None:
    behaviour = "return getComputedStyle(document.documentElement).scrollBehavior"
    viewer.show(page)
    assert viewer.run(behaviour) == "smooth"
    viewer.show(page, motion="reduce")
    assert viewer.run(behaviour) == "auto"


def test_hostile_names_do_nothing(viewer: Viewer, saved: Save) -> None:
    """Wherever a run has text: names, status, layers, evidence, machine, file."""
    evil = manifest(content="b")
    evil["evidence"]["note"] = evil["evidence"]["images"]["name"] = evil["weights"]["source"] = HOSTILE
    evil["evidence"]["stages"][0]["name"] = evil["quantizer"]["ladder"][0]["name"] = HOSTILE
    evil["coverage"]["float_layers"][0]["name"] = evil["status"] = HOSTILE
    bad = msgspec.structs.replace(
        row("small-openvino-int8", 1.1),
        name=HOSTILE,
        runtime=HOSTILE,
        executed={HOSTILE: 1.0},
        layers=(LayerTime(HOSTILE, HOSTILE, HOSTILE, 0.5, 1.0),),
        unstable=(HOSTILE,),
        manifest=evil,
    )
    run = made_up_run(
        rows={"small-openvino-int8": bad}, verdict=HOSTILE, created=HOSTILE, machine_is={HOSTILE: HOSTILE}
    )
    shown = saved(render([(HOSTILE, run), (HOSTILE, run)]))
    viewer.show(shown)
    assert viewer.driver.find_element(By.TAG_NAME, "h1").text == HOSTILE
    rows(viewer)[1].find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert viewer.run("return window.hacked") is None
    assert viewer.run("return document.querySelectorAll('img').length") == 0
    assert viewer.run("return document.scripts.length") == 3
    assert viewer.complaints() == []
    assert viewer.requests() == [shown.as_uri()]


def test_the_policy_holds_against_what_would_slip_through(viewer: Viewer, page: Path) -> None:
    """Were a name ever not escaped, the browser itself would refuse what it asks for."""
    viewer.show(page)
    viewer.driver.set_script_timeout(10)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        broken = viewer.driver.execute_async_script(
            """
            const [address, done] = arguments, broken = [];
            document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            const html = `<p style="color: red"><img src="${address}" onerror="window.hacked = 2">`;
            document.body.insertAdjacentHTML("beforeend", html);
            fetch(address).catch(() => setTimeout(() => done(broken), 200));
            """,
            f"http://127.0.0.1:{server.getsockname()[1]}/",
        )
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()
    assert {"script-src-elem", "script-src-attr", "img-src", "style-src-attr", "connect-src"} <= set(broken)
    assert viewer.run("return window.hacked") is None
    assert viewer.complaints() != []  # so that the other tests' silence means something


def test_the_run_can_be_taken_out_again(viewer: Viewer, page: Path, tmp_path: Path) -> None:
    viewer.show(page)
    viewer.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    viewer.driver.find_element(By.CSS_SELECTOR, "[data-download]").click()
    patience = time.monotonic() + 20
    while not (tmp_path / "run.json").exists() and time.monotonic() < patience:
        time.sleep(0.1)
    assert read_run(tmp_path / "run.json") == made_up_run()
