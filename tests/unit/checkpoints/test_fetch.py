"""Downloads from a server on this machine: whole and checked, or one line and nothing left behind."""

import hashlib
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evax.checkpoints.fetch import FetchError, download, fetch, published
from evax.checkpoints.layouts import LAYOUTS
from evax.checkpoints.published import PUBLISHED

CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """`/whole`, `/moved` (to it), `/cut` (promises twice what it sends), `/unsized`; anything else is absent."""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
        elif self.path in ("/whole", "/cut", "/unsized"):
            self.send_response(200)
            if self.path != "/unsized":
                self.send_header("Content-Length", str(len(CONTENT) * (1 + (self.path == "/cut"))))
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_error(404)

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture(scope="module")
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def entry(url, sha256=None):
    return published("eva_x_small")._replace(url=url, file="weights.pt", sha256=sha256)


@pytest.mark.parametrize("path", ["/whole", "/moved", "/unsized"])
@pytest.mark.parametrize("sha256", [None, DIGEST, DIGEST[:8]])
def test_a_file_arrives_whole(server, tmp_path, path, sha256):
    target = fetch(entry(f"{server}{path}", sha256), tmp_path / "new" / "folder")
    assert target.read_bytes() == CONTENT
    assert [each.name for each in target.parent.iterdir()] == ["weights.pt"]


def test_licence_page_and_found_digest_are_logged(server, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        fetch(entry(f"{server}/whole"), tmp_path)
    assert "licence: MIT" in caplog.text
    assert "https://huggingface.co/MapleF/eva_x" in caplog.text
    assert f"sha256 {DIGEST} (none is published" in caplog.text


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/whole", "0" * 64, f"the sha256 is {DIGEST} and should be 0000"),
        ("/cut", None, rf"{len(CONTENT)} of {2 * len(CONTENT)} bytes arrived; fetch it again"),
        ("/absent", None, "/absent: the server answers 404 Not Found"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(server, tmp_path, path, sha256, message):
    with pytest.raises(FetchError, match=message) as failure:
        fetch(entry(f"{server}{path}", sha256), tmp_path)
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_a_failure_keeps_the_file_that_was_there(server, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"old")
    with pytest.raises(FetchError):
        download(f"{server}/cut", tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == b"old"


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(FetchError, match=r"cannot fetch http://127\.0\.0\.1:1/x to .*; try again"):
        fetch(entry("http://127.0.0.1:1/x"), tmp_path)


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, caplog):
    (tmp_path / "weights.pt").write_bytes(CONTENT)
    with caplog.at_level(logging.INFO):
        fetch(entry("http://127.0.0.1:1/x", DIGEST), tmp_path)
    assert "is there already" in caplog.text


def test_a_damaged_file_that_is_there_is_named(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"half")
    with pytest.raises(FetchError, match=r"weights\.pt: its sha256 is not .*remove the file"):
        fetch(entry("http://127.0.0.1:1/x", DIGEST), tmp_path)


def test_what_only_people_can_fetch_says_from_where_to_where(tmp_path):
    where = rf"open https://github\.com/HKU-MedAI/MGCA, follow the Google Drive.* put vit_base\.ckpt into {tmp_path}"
    with pytest.raises(FetchError, match=where):
        fetch(published("mgca_vit_b"), tmp_path)


def test_a_slip_finds_the_name_that_was_meant():
    with pytest.raises(FetchError, match=r"eva_x_smal is not known; did you mean 'eva_x_small'\?"):
        published("eva_x_smal")


def test_the_table_is_complete():
    layouts = {layout.name for layout in LAYOUTS}
    assert len({entry.name for entry in PUBLISHED}) == len({entry.file for entry in PUBLISHED}) == len(PUBLISHED)
    assert all(entry.layout in layouts for entry in PUBLISHED)
    assert all(entry.manual if entry.url is None else entry.url.startswith("https://") for entry in PUBLISHED)
    assert all(entry.file and entry.licence and entry.page.startswith("https://") for entry in PUBLISHED)


def test_addresses_on_the_hub_name_repository_and_file():
    hub = "https://huggingface.co"
    assert published("eva_x_base").url == f"{hub}/MapleF/eva_x/resolve/main/eva_x_base_patch16_merged520k_mim.pt"
    assert published("eva_clip_l").url == f"{hub}/QuanSun/EVA-CLIP/resolve/main/EVA02_CLIP_L_psz14_s4B.pt"
