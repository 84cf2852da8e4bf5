"""What there is: models, extras, and how a training went."""

from typing import Any

from edgecnn.console.screen import out, shown, table_of


def print_models(rows: list[dict[str, Any]]) -> None:
    """One line per model."""
    table = table_of("model", "parameters|", "MACs|", "input|", "weights", "also called")
    for row in rows:
        channels, height, width = row["input"]
        table.add_row(
            row["name"],
            f"{row['params']:,}",
            f"{row['macs'] / 1e6:,.0f} M",
            f"{channels}×{height}×{width}",
            ", ".join(row["weights"]),
            ", ".join(row["aliases"]),
        )
    out.print(table)
    out.print(f"targets: {', '.join(rows[0]['targets'])}")


def print_trained(trained: dict[str, Any]) -> None:
    """A row per epoch, and the weights."""
    table = table_of("epoch|", "size|", "loss|", "held-out top-1|", "seconds|")
    for row in trained["history"]:
        table.add_row(
            str(row["epoch"] + 1),
            str(row["size"]),
            f"{row['loss']:.4f}",
            f"{row['accuracy']:.4f}",
            f"{row['seconds']:.0f}",
        )
    out.print(table)
    out.print(f"{shown(trained['weights'])}  top-1 {trained['top1']:.4f} on the {trained['n']:,} test images")


def print_diagnosis(found: dict[str, Any]) -> None:
    """One line per extra, and below those that lack something, the line that installs it."""
    out.print(f"edgecnn {found['edgecnn']}, Python {found['python']}, {found['machine']}")
    for row in found["extras"]:
        state = "[green]ready  [/]" if not row["missing"] else "[yellow]missing[/]"
        installed = ", ".join(f"{name} {version}" for name, version in row["installed"].items())
        out.print(f"{state} {row['extra']:<12} {row['purpose']}{': ' if installed else ''}{installed}")
        if row["missing"]:
            out.print(f"{'':20} lacks {', '.join(row['missing'])}: {row['install']}", markup=False)
