"""A machine's facts in words and units for people; the record keeps its own."""

from typing import Any

from edgecnn.report.reading import flat

# By the record's own names; what is not here is called by these, with spaces.
NAMES = {
    "cpu.model": "CPU",
    "cpu.architecture": "Architecture",
    "cpu.cores": "Cores",
    "cpu.usable_cores": "Cores for this process",
    "cpu.isa": "Instruction sets",
    "cpu_limit": "Cores that the container may use",
    "clock_mhz": "CPU clock",
    "temperature_c": "Temperature",
    "throttled": "Throttling events",
    "slowed_by": "CPU clock held down by",
    "slowed_since_boot_by": "CPU clock held down since it was started, by",
    "memory_bytes.total": "Memory",
    "memory_bytes.available": "Memory available",
    "gpu.name": "GPU",
    "gpu.architecture": "GPU architecture",
    "os": "Operating system",
    "unreadable": "Not told by the machine",
}
# By the end of a name: what to divide by, how many digits, and the unit.
UNITS = {
    "_bytes": (2**30, 1, "GiB"),
    "_mib": (2**10, 1, "GiB"),
    "_mhz": (1, 0, "MHz"),
    "_c": (1, 0, "°C"),
    "_w": (1, 0, "W"),
}
NOMINAL = "by /proc/cpuinfo, which may be nominal on a virtual machine"


def described(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of all that is known, in the record's order."""
    found: list[tuple[str, str]] = []
    for name, value in machine.items():
        found += _described(name, value)
    if "clock_mhz" in machine and "governor" not in machine:
        # Linux has a governor wherever a frequency driver tells the clock; without one, only this file is left.
        found = [(title, f"{text}, {NOMINAL}" if title == NAMES["clock_mhz"] else text) for title, text in found]
    return found


def _described(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        if set(value) <= {"before", "after"}:
            return [(_title(path), _change(path, value))] if value else []
        return [fact for name, inner in value.items() for fact in _described(f"{path}.{name}", inner)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [fact for number, item in enumerate(value, 1) for fact in _part(path, number, len(value), item)]
    if path == "unreadable" and isinstance(value, list):
        return [(_title(path), ", ".join(_title(str(name)) for name in value))]
    # Flat knows the words of lists and truths, and leaves out what is empty.
    return [(_title(path), text) for text in flat({"value": _measured(path, value)}).values()]


def _part(path: str, number: int, of: int, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Of one of several alike, such as GPUs; numbered where there are several."""
    name = path.removesuffix("s") + (f" {number}" if of > 1 else "")
    return _described(name, facts)


def _change(path: str, pair: dict[str, Any]) -> str:
    texts = {when: str(_measured(path, value)) for when, value in pair.items()}
    if len(texts) == 2 and len(set(texts.values())) == 1:
        return f"{texts['before']} before and after"
    return ", ".join(f"{text} {when}" for when, text in texts.items())


def _measured(path: str, value: Any) -> Any:
    """A number with its unit, where its name has one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    for part in reversed(path.split(".")):
        for ending, (divisor, digits, unit) in UNITS.items():
            if part.endswith(ending):
                return f"{value / divisor:,.{digits}f} {unit}"
    return value


def _title(path: str) -> str:
    if path in NAMES:
        return NAMES[path]
    parts = path.split(".")
    words = " ".join(_without_unit(part) for part in parts if part != "runtimes").replace("_", " ")
    return words if path.startswith("runtimes.") else f"{words[:1].upper()}{words[1:]}".replace("Gpu", "GPU")


def _without_unit(part: str) -> str:
    return next((part.removesuffix(ending) for ending in UNITS if part.endswith(ending)), part)
