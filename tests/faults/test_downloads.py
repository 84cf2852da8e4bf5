"""Downloads from a real server: complete and right, or not there at all."""

import gzip
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from edgecnn.data import fashion_mnist
from edgecnn.data.download import cache_folder, download
from edgecnn.errors import IntegrityError, StorageError, UnavailableError
from edgecnn.models.registry import find_model
from edgecnn.models.sources import OFFICIAL
from edgecnn.models.weights import load_model, state_sha256
from tests.conftest import Command
from tests.faults.conftest import Refused, contents, powerless

MODEL = "mobilenetv3_small"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by path; what is in ``cut`` ends half way."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.served: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.server.served.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxy between the tests and their server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save(load_model(find_model(MODEL), "random", 10).model.state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture
def official(server: Server, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The test's server stands for the official address, with its pin."""
    server.files["/weights.pth"] = checkpoint
    monkeypatch.setitem(OFFICIAL, MODEL, (server.url("/weights.pth"), hashlib.sha256(checkpoint).hexdigest()))
    return server


EXPORT_IMAGENET = ("export", MODEL, "--target", "onnx", "--weights", "imagenet", "--size", "32")


def test_a_good_download_is_cached_and_read(official: Server, checkpoint: bytes, cache: Path) -> None:
    loaded = load_model(find_model(MODEL), "imagenet")
    assert loaded.sha256 == state_sha256(load_model(find_model(MODEL), "random", 10).model.state_dict())
    assert contents(cache) == {"edgecnn/weights/weights.pth": checkpoint}
    official.shutdown()
    load_model(find_model(MODEL), "imagenet")  # from the cache
    assert official.served == ["/weights.pth"]


def test_a_damaged_cache_is_downloaded_again(official: Server, checkpoint: bytes, cache: Path) -> None:
    load_model(find_model(MODEL), "imagenet")
    path = cache_folder() / "weights" / "weights.pth"
    path.write_bytes(checkpoint[:-1])
    load_model(find_model(MODEL), "imagenet")
    assert path.read_bytes() == checkpoint


def test_F48_a_download_corrupted_at_equal_size_is_not_kept(
    official: Server, refused: Refused, cache: Path, tmp_path: Path
) -> None:
    content = bytearray(official.files["/weights.pth"])
    content[len(content) // 2] ^= 1
    official.files["/weights.pth"] = bytes(content)
    line = refused(7, *EXPORT_IMAGENET, "--out", tmp_path / "out")
    assert f"{official.url('/weights.pth')}: sha256 differs from the pinned {OFFICIAL[MODEL][1]}" in line
    assert contents(cache) == {}
    assert not (tmp_path / "out").exists()


def test_F48_a_download_cut_off_in_the_middle_is_not_kept(
    official: Server, refused: Refused, cache: Path, tmp_path: Path
) -> None:
    official.cut.add("/weights.pth")
    line = refused(7, *EXPORT_IMAGENET, "--out", tmp_path / "out")
    assert f"{official.url('/weights.pth')}: the transfer was cut off" in line
    assert "nothing was kept, run again" in line
    assert contents(cache) == {}
    assert not (tmp_path / "out").exists()


def test_F47_offline_says_what_else_can_be_used(
    official: Server, refused: Refused, cache: Path, tmp_path: Path
) -> None:
    official.shutdown()
    official.server_close()
    line = refused(4, *EXPORT_IMAGENET, "--out", tmp_path / "out")
    assert f"{official.url('/weights.pth')} cannot be reached (ConnectionError); use " in line
    assert "random, or pass a .safetensors or .pth state dict" in line
    assert contents(cache) == {}
    assert not (tmp_path / "out").exists()


def test_F47_an_address_that_is_gone_is_unavailable(official: Server, refused: Refused, tmp_path: Path) -> None:
    official.files.clear()
    line = refused(4, *EXPORT_IMAGENET, "--out", tmp_path / "out")
    assert "cannot be reached (HTTPError); use " in line


def test_F47_a_local_export_needs_no_network(command: Command, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert command("verify", artifact, "--images", "photographs").code == 0


def test_a_cache_that_cannot_be_written_is_refused(
    server: Server, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/file"] = b"content"
    (open_folder / "cache").mkdir(mode=0o555)
    path = open_folder / "cache" / "deep" / "file"
    refusal = pytest.raises(StorageError, match=r"Permission|permission")
    with powerless(), refusal:
        download(server.url("/file"), None, path, otherwise="do without")


class TestFashionMnist:
    """The pins are of the unpacked bytes, so a wrong file must go as well."""

    @pytest.fixture(autouse=True)
    def official(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
        images = np.arange(2 * 28 * 28, dtype=np.uint8).tobytes()
        files = {"test-images": b"\0" * 16 + images, "test-labels": b"\0" * 8 + b"\3\7"}
        for key, content in files.items():
            name, _, header = fashion_mnist.FILES[key]
            server.files[f"/{name}.gz"] = gzip.compress(content, mtime=0)
            entry = (name, hashlib.sha256(content).hexdigest(), header)
            monkeypatch.setitem(fashion_mnist.FILES, key, entry)
        monkeypatch.setattr(fashion_mnist, "OFFICIAL", server.url(""))
        monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "not installed")
        return server

    def test_a_good_download(self, server: Server) -> None:
        split = fashion_mnist.load("test")
        assert split.images.shape == (2, 28, 28)
        assert split.labels.tolist() == [3, 7]
        fashion_mnist.load("test")
        assert len(server.served) == 2  # once each

    def test_F48_a_wrong_file_is_refused_and_not_kept(self, server: Server, cache: Path) -> None:
        server.files["/t10k-images-idx3-ubyte.gz"] = gzip.compress(b"something else", mtime=0)
        with pytest.raises(IntegrityError, match="unpacked sha256 is"):
            fashion_mnist.load("test")
        assert contents(cache) == {}

    def test_F48_a_file_that_is_no_gzip_is_refused_and_not_kept(self, server: Server, cache: Path) -> None:
        server.files["/t10k-images-idx3-ubyte.gz"] = b"<html>log in to the airport's network</html>"
        with pytest.raises(IntegrityError, match="not a complete gzip file"):
            fashion_mnist.load("test")
        assert contents(cache) == {}

    def test_F48_a_cut_off_transfer_is_not_kept(self, server: Server, cache: Path) -> None:
        server.cut.add("/t10k-images-idx3-ubyte.gz")
        with pytest.raises(IntegrityError, match="the transfer was cut off"):
            fashion_mnist.load("test")
        assert contents(cache) == {}

    def test_F47_offline_names_the_package(self, server: Server) -> None:
        server.shutdown()
        server.server_close()
        with pytest.raises(UnavailableError, match="install Debian's dataset-fashion-mnist"):
            fashion_mnist.load("test")
