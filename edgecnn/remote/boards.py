"""``verify`` on a board: what is sent and run there, and what its answer becomes here."""

from dataclasses import replace
from pathlib import Path

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.errors import UsageError
from edgecnn.progress import Progress
from edgecnn.remote.jobs import bundle_job, decoded, has_bundle, judged, package_job
from edgecnn.remote.parcel import artifact_items, image_items
from edgecnn.remote.session import run_there
from edgecnn.remote.ssh import Host
from edgecnn.verify.device import OnDevice
from edgecnn.verify.stages import Verification


def verify_there(
    host: Host,
    folder: Path,
    images: str | None = None,
    max_drop_pp: float | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> Verification | OnDevice:
    """Checks an artifact on a board. Its word never marks the artifact here, which may be another runtime's to judge.

    A TensorRT artifact's bundle builds, checks and times its engine there, and is judged here; any other is checked
    there by edgecnn.

    Args:
        images: a folder of images or a shipped set; the golden pairs unless told.
        max_drop_pp: instead of the gate that the artifact was exported with.
        keep: leave the files on the board for the next call.

    Raises:
        UsageError: images or a gate, for a bundle.
        EdgecnnError: as ``run_there``, or the board's own refusal.
    """
    artifact = load_artifact(folder)
    progress = progress or Progress()
    if not has_bundle(artifact):
        return _verify_files(host, artifact, images, max_drop_pp, keep, progress)
    if (images, max_drop_pp) != (None, None):
        raise UsageError("a bundle brings its own images and gate; drop --images and --max-drop")
    return judged(host, artifact, run_there(host, bundle_job(artifact), keep, progress))


def _verify_files(
    host: Host, artifact: Artifact, images: str | None, max_drop_pp: float | None, keep: bool, progress: Progress
) -> Verification:
    pictures, spec = ([], "") if images is None else image_items(images)
    step = ("-m", "edgecnn.remote.there", "artifact", spec, "" if max_drop_pp is None else repr(max_drop_pp))
    job = package_job([artifact], [*artifact_items(artifact, "artifact"), *pictures], step)
    found = decoded(host, run_there(host, job, keep, progress), Verification)
    return replace(found, images=found.images | {"name": f"{found.images['name']} on {host.destination}"})
