"""What changed from one run to the next: times with an interval, and answers.

Times of two runs on a noisy machine differ though nothing else does. So a row is held against a row that is the same
thing in both runs, the anchor, and the two ratios are compared: what slowed the machine slowed both. A row that was
timed alone is compared by plain times, because what happened then befell no anchor.
"""

from typing import Any

import msgspec
import numpy as np

from edgecnn.bench.record import Row, Run
from edgecnn.bench.resample import interval, medians
from edgecnn.errors import InputError
from edgecnn.report.quality import Quality, quality
from edgecnn.report.reading import flat, manifest_of

# Facts that make two machines two, by the last word of their name; clocks, load and temperature only make them noisy.
IDENTITY = (
    "model",
    "name",
    "architecture",
    "isa",
    "cores",
    "board",
    "power_mode",
    "usable_cores",
    "cpu_limit",
)


class Measured(msgspec.Struct, frozen=True):
    """A change and its 95 % interval, without which nothing is judged."""

    value: float
    ci95: tuple[float, float]


class Change(msgspec.Struct, frozen=True):
    """One row of two runs.

    Args:
        here: ``both``, ``missing`` from the new run, or ``added`` by it.
        anchor: whether the others were held against it. Its own change is the machine's.
        old_ms, new_ms: medians.
        slowdown_percent: above 0 it is slower; the anchor's is of plain times, the others' of their ratio to it.
        measure: ``top-1`` or ``agreement``.
        drop_pp: of that measure, percentage points; above 0 it is worse.
        lost: what the new run no longer has, or why its answers cannot be compared.
        steady: whether neither run was unstable.
        notes: what a reader should know.
    """

    name: str
    here: str
    anchor: bool = False
    old_ms: float | None = None
    new_ms: float | None = None
    slowdown_percent: Measured | None = None
    measure: str = ""
    drop_pp: Measured | None = None
    lost: tuple[str, ...] = ()
    steady: bool = True
    notes: tuple[str, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """Of two runs.

    Args:
        anchor: the row that the others were held against; empty where plain times had to be compared.
        notes: what else differs, and does not forbid it.
    """

    anchor: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def difference(old: Run, new: Run) -> Difference:
    """Rows matched by name, in the new run's order, then those that are missing from it.

    Raises:
        InputError: the runs are of two machines or were measured in two ways, or nothing is in both.
    """
    obstacles = [*_settings(old, new), *_machines(old, new)]
    if obstacles:
        raise InputError(f"these runs cannot be compared: {'; '.join(obstacles)}; measure both alike")
    before, after = ({row.name: row for row in run.rows} for run in (old, new))
    both = [name for name in after if name in before]
    if not both:
        raise InputError("these runs cannot be compared: no row is in both; name the rows alike")
    if not any(before[name].times or before[name].manifest for name in both):
        raise InputError("these runs cannot be compared: no row that is in both was measured in the old one")
    anchor = _anchor([(before[name], after[name]) for name in both])
    changes = []
    for name, row in after.items():
        if name in before:
            alone = before[name].alone or row.alone
            pair = (before[anchor], after[anchor]) if anchor and anchor != name and not alone else None
            changes.append(_change(before[name], row, old, new, pair, name == anchor))
        else:
            changes.append(Change(name, "added"))
    changes += [Change(name, "missing", lost=("the row is gone",)) for name in before if name not in after]
    return Difference(anchor, tuple(changes), tuple(_notes(old, new)))


def time_word(change: Change) -> str:
    """What became of a row's time, for people; empty where nothing says."""
    if change.here != "both":
        return change.here
    if change.anchor:
        return "the machine's"
    if change.slowdown_percent is None:
        return ""
    low, high = change.slowdown_percent.ci95
    if low <= 0 <= high:
        return "no clear change"
    return ("slower" if low > 0 else "faster") + ("" if change.steady else ", unstable")


def _settings(old: Run, new: Run) -> list[str]:
    pairs = [(what, getattr(old.settings, what), getattr(new.settings, what)) for what in ("mode", "threads", "batch")]
    return [f"{what} is {was} and {now}" for what, was, now in pairs if was != now]


def _machines(old: Run, new: Run) -> list[str]:
    was, now = flat(old.machine), flat(new.machine)
    names = [name for name in was | now if name.rpartition(".")[2] in IDENTITY]
    return [
        f"machine's {name} is {was.get(name, 'unknown')} and {now.get(name, 'unknown')}"
        for name in names
        if was.get(name) != now.get(name)
    ]


def _notes(old: Run, new: Run) -> list[str]:
    pairs: list[tuple[str, Any, Any]] = [
        ("edgecnn", old.edgecnn, new.edgecnn),
        ("images", old.settings.images, new.settings.images),
        ("seconds per row", old.settings.duration_s, new.settings.duration_s),
    ]
    return [f"{what}: {was}, then {now}" for what, was, now in pairs if was != now]


def _anchor(rows: list[tuple[Row, Row]]) -> str:
    """The first row that is the same bits in the same runtime; a row alone has nothing to be held against."""
    timed = [(was, now) for was, now in rows if was.times and now.times and not (was.alone or now.alone)]
    same = [now.name for was, now in timed if _same(was, now)]
    return same[0] if same and len(timed) > 1 else ""


def _same(was: Row, now: Row) -> bool:
    if (was.kind, was.model, was.runtime) != (now.kind, now.model, now.runtime):
        return False
    manifests = manifest_of(was), manifest_of(now)
    files = [sorted((file.role, file.sha256) for file in found.files) if found else None for found in manifests]
    return files[0] == files[1]


def _change(was: Row, now: Row, old: Run, new: Run, anchor: tuple[Row, Row] | None, is_anchor: bool) -> Change:
    if was.model != now.model:
        raise InputError(f"row {now.name!r} is {was.model} in one run and {now.model} in the other; name them apart")
    lost = []
    if was.status == "ok" and now.status != "ok":
        lost.append(f"it worked, now: {now.status}")
    elif was.times is not None and now.times is None:
        lost.append("it was timed, now it is not")
    measure, drop, unanswered = _answers(was, now, old, new)
    return Change(
        name=now.name,
        here="both",
        anchor=is_anchor,
        old_ms=was.times.p50_ms if was.times else None,
        new_ms=now.times.p50_ms if now.times else None,
        slowdown_percent=_slowdown(was, now, anchor),
        measure=measure,
        drop_pp=drop,
        lost=(*lost, *unanswered),
        steady=not (was.unstable or now.unstable),
        notes=tuple(_remarks(was, now)),
    )


def _remarks(was: Row, now: Row) -> list[str]:
    pairs = [("runtime", was.runtime, now.runtime), ("precision", was.precision, now.precision)]
    pairs.append(("target", was.target, now.target))
    remarks = [f"{what}: {one}, then {other}" for what, one, other in pairs if one != other]
    if was.status != "ok" and now.status != "ok":
        remarks.append(f"it failed in both: {now.status}")
    if was.alone or now.alone:
        remarks.append("timed alone: plain times, the machine's own changes with them")
    for row, when in ((was, "old"), (now, "new")):
        remarks += [f"unstable in the {when} run: {why}" for why in row.unstable]
    return remarks


def _slowdown(was: Row, now: Row, anchor: tuple[Row, Row] | None) -> Measured | None:
    """Percent, of the median call; in throughput mode of the median turn."""
    if was.times is None or now.times is None:
        return None
    costs, points = [], []
    # The two runs are drawn apart, by two seeds; the rows of one run together.
    for seed, row, base in zip((0, 1), (was, now), anchor or (None, None), strict=True):
        columns = [found.times.rounds_ms for found in (row, base) if found is not None and found.times is not None]
        drawn, exact = medians(columns, seed), [float(np.median(column)) for column in columns]
        costs.append(drawn[0] / drawn[1] if len(drawn) > 1 else drawn[0])
        points.append(exact[0] / exact[1] if len(exact) > 1 else exact[0])
    low, high = interval(costs[1] / costs[0])
    return Measured(100 * (points[1] / points[0] - 1), (100 * (low - 1), 100 * (high - 1)))


def _answers(was: Row, now: Row, old: Run, new: Run) -> tuple[str, Measured | None, list[str]]:
    """The measure, its loss, and what forbids to say it."""
    before, after = quality(was, old), quality(now, new)
    if before is None:
        return "", None, []
    if after is None:
        return before.measure, None, ["its answers were checked, now they are not"]
    rejected = [manifest is not None and manifest.status == "rejected" for manifest in map(manifest_of, (was, now))]
    lost = ["its own gate rejects it"] if rejected == [False, True] else []
    if before.measure != after.measure or before.images.sha256 != after.images.sha256:
        kinds = [f"{found.measure} on {found.images.name}" for found in (before, after)]
        return before.measure, None, [*lost, f"answers cannot be compared: {kinds[0]}, then {kinds[1]}"]
    return before.measure, Measured(_drop(before, after), _interval(was, now, before, after)), lost


def _drop(before: Quality, after: Quality) -> float:
    """Percentage points; shares of images are exact, and so is a gate of two images in a thousand."""
    return round(100 * (before.value - after.value), 6)


def _interval(was: Row, now: Row, before: Quality, after: Quality) -> tuple[float, float]:
    """Percentage points. Each value carries its own error, as if the two were independent.

    They answered the same images and are not, so this is rather too wide than too narrow. The same bits lose nothing;
    an engine, which its device builds anew, is not the same bits.
    """
    drop = _drop(before, after)
    alone = was.alone or now.alone
    if (_same(was, now) and not alone) or before.ci95 is None or after.ci95 is None:
        return drop, drop
    up = 100 * np.hypot(before.ci95[1] - before.value, after.value - after.ci95[0])
    down = 100 * np.hypot(before.value - before.ci95[0], after.ci95[1] - after.value)
    return drop - float(down), drop + float(up)
