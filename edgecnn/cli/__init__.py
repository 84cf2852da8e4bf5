"""The command line: parse, call, print. Nothing is decided here, and nothing heavy is imported before it is needed."""

from edgecnn.cli import build, check, overview, report, time
from edgecnn.cli.process import main, run

__all__ = ["build", "check", "main", "overview", "report", "run", "time"]
