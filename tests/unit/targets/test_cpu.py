"""Seven bits for weights where the CPU needs it, or its user says so."""

from pathlib import Path

import pytest

from edgecnn.errors import UsageError
from edgecnn.targets import cpu
from edgecnn.targets.base import Options, Target
from edgecnn.targets.cpu import CpuTarget, saturates
from edgecnn.targets.registry import TARGETS, find_target

ON_CPU = sorted(name for name, target in TARGETS.items() if isinstance(target, CpuTarget))


def described(folder: Path, flags: str) -> Path:
    """The start of a /proc/cpuinfo, made up."""
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse4_2 {flags}\n\nprocessor\t: 1\n")
    return path


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("avx2", True),
        ("avx2 avx512f avx512bw", True),
        ("avx2 avx_vnni", False),
        ("avx2 avx512f avx512_vnni", False),
        ("amx_tile amx_int8", False),
        ("not_avx512_vnni", True),
    ],
)
def test_kernels_saturate_without_vnni(tmp_path: Path, flags: str, found: bool) -> None:
    assert saturates("x86_64", described(tmp_path, flags)) is found
    assert saturates("AMD64", described(tmp_path, flags)) is found
    assert not saturates("aarch64", described(tmp_path, flags))


def test_an_x86_that_does_not_tell_may_saturate(tmp_path: Path) -> None:
    assert saturates("x86_64", tmp_path / "nothing")
    (tmp_path / "cpuinfo").write_text("model name: no flags at all\n")
    assert saturates("x86_64", tmp_path / "cpuinfo")


@pytest.fixture(params=["avx2", "avx2 avx512_vnni"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = described(tmp_path, request.param)
    monkeypatch.setattr(cpu, "saturates", lambda: saturates("x86_64", path))
    return str(request.param)


@pytest.mark.parametrize("name", ON_CPU)
def test_the_cpu_decides_unless_its_user_does(machine: str, name: str) -> None:
    own, reduced, whole = (find_target(name).configured(Options(reduce_range=asked)) for asked in (None, True, False))
    assert reduced.profile.reduced_range
    assert not whole.profile.reduced_range
    assert own.profile.reduced_range is ("vnni" not in machine)
    assert ("this CPU has no VNNI" in own.remark("int8")) is ("vnni" not in machine)
    assert reduced.remark("int8") == whole.remark("int8") == own.remark("fp32") == ""
    assert own.profile.roles == find_target(name).profile.roles


@pytest.mark.parametrize("target", [find_target("tensorrt")], ids=lambda target: target.name)
def test_gpus_take_the_whole_range_alone(target: Target) -> None:
    with pytest.raises(UsageError, match="--reduce-range is for x86 CPUs alone"):
        target.configured(Options(reduce_range=True))
