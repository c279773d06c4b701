"""Downloading published weights: whole and checked, or not at all."""

import hashlib
import logging
import shutil
import sys
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from evax.checkpoints.published import PUBLISHED, Published, where_to_get
from evax.data.atomic import replacing, sha256_of
from evax.hints import nearest

log = logging.getLogger(__name__)

CHUNK = 2**20  # bytes
TIMEOUT = 60  # seconds without an answer


class FetchError(Exception):
    """Weights could not be fetched; one line that names the address or the file and the fix."""


def published(name: str) -> Published:
    """The entry of a name; FetchError with the nearest where there is none."""
    known = {entry.name: entry for entry in PUBLISHED}
    if name not in known:
        raise FetchError(f"{name} is not known; {nearest(name, known)}")
    return known[name]


def fetch(entry: Published, folder: Path) -> Path:
    """Download published weights into a folder, with a progress bar on a terminal; a file that is there stays.

    The licence and, beside a file whose sha256 nobody states, the one that was found are logged. Raises FetchError
    for weights that only people can fetch, and for whatever goes wrong; the folder then holds no part of the file.
    """
    target = folder / entry.file
    log.info("%s (%s), licence: %s", entry.what, entry.page, entry.licence)
    if target.is_file():
        _check_present(target, entry.sha256)
        log.info("%s is there already", target)
    elif entry.url is None:
        raise FetchError(f"{entry.name} has no direct address: {where_to_get(entry, str(folder))}")
    else:
        digest = download(entry.url, target, entry.sha256)
        log.info("wrote %s, sha256 %s%s", target, digest, "" if entry.sha256 else " (none is published to compare)")
    return target


def download(url: str, target: Path, sha256: str | None = None) -> str:
    """Write what an address holds to `target`, atomically; returns its sha256.

    `sha256` is what it must be, or the first digits of that. Raises FetchError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            with urlopen(Request(url, headers={"User-Agent": "evax"}), timeout=TIMEOUT) as response:
                digest = _receive(response, temporary, target)
            if sha256 is not None and not digest.startswith(sha256):
                raise FetchError(f"{url}: the sha256 is {digest} and should be {sha256}; fetch it again, or elsewhere")
        return digest
    except HTTPError as error:
        error.close()
        raise FetchError(
            f"{url}: the server answers {error.code} {error.reason}; see the page of the weights"
        ) from error
    except (OSError, HTTPException) as error:
        raise FetchError(f"cannot fetch {url} to {target}: {error}; try again") from error


def _check_present(target: Path, sha256: str | None) -> None:
    if sha256 is not None and not sha256_of(target).startswith(sha256):
        raise FetchError(f"{target}: its sha256 is not {sha256}; remove the file and fetch it again")


def _receive(response: HTTPResponse, path: Path, target: Path) -> str:
    """Write an answer to a file; its sha256. Raises FetchError where it ends too early or will not fit."""
    length = response.headers.get("Content-Length")
    total = int(length) if length else None
    free = shutil.disk_usage(path.parent).free
    if total is not None and total > free:
        raise FetchError(f"{target} takes {total / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; choose another --to")
    digest, received = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in _with_progress(response, target.name, total):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
    if total is not None and received != total:
        raise FetchError(f"{response.url}: {received} of {total} bytes arrived; fetch it again")
    return digest.hexdigest()


def _with_progress(response: HTTPResponse, name: str, total: int | None) -> Iterator[bytes]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(name, total=total)
        while chunk := response.read(CHUNK):
            yield chunk
            progress.advance(bar, len(chunk))
