"""What many rows share is said once, and of whom."""

from edgecnn.report.difference import difference
from edgecnn.report.notes import Note, grouped, losses, of_run, remarks
from tests.made_up import made_up_run, manifest, row

INT8 = "small-openvino-int8"


def test_sentences_of_the_same_rows_stand_together_and_those_of_most_first() -> None:
    said = {"a": ["own", "shared", "load"], "b": ["shared", "load"], "c": ["load", "load", "also all"], "d": []}
    crowds = {"all": ["a", "b", "c", "d"], "all timed": ["a", "b", "c"]}
    assert grouped(said, crowds) == [
        Note("all timed", ("load",)),
        Note("a, b", ("shared",)),
        Note("a", ("own",)),
        Note("c", ("also all",)),
    ]


def test_one_row_is_called_by_its_name() -> None:
    assert grouped({"a": ["alone"]}, {"all": ["a"]}) == [Note("a", ("alone",))]


def test_a_run_says_why_rows_have_no_figures_and_which_to_doubt() -> None:
    rejected = manifest(status="rejected")
    rejected["evidence"]["reasons"] = ["drop +3.00 pp"]
    run = made_up_run(
        rows={INT8: row(INT8, 1.1, manifest=rejected, load_ms=None, absences={"load_ms": "it ended by signal 9"})}
    )
    assert of_run(run) == [
        Note("all timed rows", ("energy not measurable: no RAPL on a made-up machine",)),
        Note(INT8, ("rejected: drop +3.00 pp", "load time was not measured: it ended by signal 9")),
        Note("small-onnx-fp32", ("unstable: spread 31 %",)),
        Note("small-tensorrt-int8", ("no NVIDIA driver (libcuda.so.1)",)),
    ]


def test_of_a_difference_losses_stand_apart() -> None:
    new = made_up_run(seed=1, rows={INT8: row(INT8, 1.1, status="out of memory", times=None), "small-onnx-fp32": None})
    found = difference(made_up_run(), new)
    assert losses(found) == [Note(INT8, ("it worked, now: out of memory",))]
    assert remarks(found) == [Note("small-tensorrt-int8", ("it failed in both: no NVIDIA driver (libcuda.so.1)",))]
