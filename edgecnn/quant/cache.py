"""A climbed ladder as one file, ``--calib-cache``, for exports that calibrate one network on the same images again.

An ``.npz`` whose header says what the table was made from. It is used only where all of that is the same, and never
overwritten: a table from another network, preprocessing or image set would quantize without complaint.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn.data.sets import ImageSet
from edgecnn.errors import InputError, IntegrityError
from edgecnn.graph.check import read_graph
from edgecnn.graph.graph import Graph, with_metadata
from edgecnn.names import __version__
from edgecnn.quant.ladder import Climbed, judging_images
from edgecnn.quant.placement import Role
from edgecnn.quant.rungs import Rung, most_changes
from edgecnn.quant.table import ActivationQuantizer, Layer, QuantizerTable, WeightQuantizer
from edgecnn.recipe import Preprocess

Arrays = dict[str, NDArray[Any]]
Key = dict[str, str]

HEADER = "header"
ANY = "whatever it is"


class _Activation(msgspec.Struct):
    scale: float
    zero_point: int
    roles: list[Role]
    signed: bool


class _Header(msgspec.Struct):
    key: Key
    activations: dict[str, _Activation]
    layers: list[Layer]
    rungs: list[Rung]
    sha256: str


def cache_key(
    graph: Graph,
    images: ImageSet,
    how: Preprocess,
    effort: str,
    profile: str,
    max_drop_pp: float,
    device: str = ANY,
) -> Key:
    """All that a table depends on, by the words that a refusal uses.

    Args:
        device: that layers were timed on, where the effort chooses them by their times.
    """
    changes = most_changes(len(judging_images(images)), max_drop_pp)
    return {
        "edgecnn": __version__,
        "network": with_metadata(graph, {}).sha256,  # weights and input size, but not what its classes are called
        "preprocessing": msgspec.json.encode(how).decode(),
        "image set": images.sha256,
        "labels": hashlib.sha256(images.labels.tobytes()).hexdigest() if images.labelled else "none",
        "effort": effort,
        "runtime": profile,
        "device": device,
        "largest drop": ANY if changes < 0 else f"that allows {changes} other answers",
    }


def pack(climbed: Climbed, key: Key) -> bytes:
    """The bytes of a cache file; the same table gives the same bytes."""
    table = climbed.table
    arrays: Arrays = {"graph": np.frombuffer(with_metadata(climbed.graph, {}).content, np.uint8)}
    for name, quantizer in table.weights.items():
        arrays[f"codes:{name}"], arrays[f"scale:{name}"] = quantizer.codes, quantizer.scale
    for name, bias in table.biases.items():
        arrays[f"bias:{name}"] = bias
    document = {
        "key": key,
        "activations": {
            name: asdict(found) | {"roles": sorted(role.value for role in found.roles)}
            for name, found in table.activations.items()
        },
        "layers": [asdict(layer) for layer in table.layers],
        "rungs": [asdict(rung) | {"elapsed_s": 0.0, "slowdown": None} for rung in climbed.rungs],
    }
    text = json.dumps(document | {"sha256": _sha256(document, arrays)}, sort_keys=True)
    buffer = io.BytesIO()
    np.savez(buffer, **{HEADER: np.frombuffer(text.encode(), np.uint8)} | arrays)  # type: ignore[arg-type]  # names
    return buffer.getvalue()


def unpack(content: bytes, key: Key, path: Path) -> Climbed:
    """What ``pack`` was given; its rungs took no time.

    Args:
        key: of this export.
        path: for messages.

    Raises:
        IntegrityError: no cache file, or one that is damaged.
        InputError: made from something else; names what differs.
    """
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise IntegrityError("it is no archive")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays: Arrays = {name: file[name] for name in file.files}
        document = json.loads(arrays.pop(HEADER).tobytes())
        header = msgspec.convert(document, _Header)
        document.pop("sha256")
        if header.sha256 != _sha256(document, arrays):
            raise IntegrityError("its content has another sha256 than its header says")
        climbed = _climbed(header, arrays)
    except Exception as error:  # what a damaged file makes zip's and numpy's parsers raise is up to the file
        raise IntegrityError(
            f"{path}: no calibration cache, or a damaged one ({error}); name another with --calib-cache"
        ) from error
    for name, want in key.items():
        got = header.key.get(name)
        if got != want:
            raise InputError(
                f"{path}: calibrated for another {name}, {got}, expected {want}; name another file with --calib-cache,"
                " or remove this one"
            )
    return climbed


def _climbed(header: _Header, arrays: Arrays) -> Climbed:
    weights, biases = {}, {}
    for layer in header.layers:
        weights[layer.weight] = WeightQuantizer(arrays[f"codes:{layer.weight}"], arrays[f"scale:{layer.weight}"])
        biases[layer.bias] = arrays[f"bias:{layer.bias}"]
    activations = {
        name: ActivationQuantizer(found.scale, found.zero_point, frozenset(found.roles), found.signed)
        for name, found in header.activations.items()
    }
    table = QuantizerTable(activations, weights, biases, tuple(header.layers))
    return Climbed(read_graph(arrays["graph"].tobytes(), "its graph"), table, tuple(header.rungs))


def _sha256(document: dict[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}{arrays[name].dtype}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
