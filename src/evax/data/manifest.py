"""The manifest of a pack: what is in it, where from, and the checksums that identify it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evax.data.atomic import write_atomically

FORMAT = 2
MANIFEST = "manifest.json"
INDEX = "index.arrow"
QUARANTINE = "quarantine.csv"
DUPLICATES = "duplicates.csv"
NEAR_DUPLICATES = "near_duplicates.csv"
IDENTITY = "identity"  # in `provenance`: why films of the pack may be those of another by other names
# What `prepare.py data=NAME` makes a pack of that name from.
NAMES = (
    *("chexpert", "covid_masks", "covidx3", "covidx4", "cxr14", "folder", "lung", "masks", "mimic", "phantom"),
    *("rsna", "shenzhen", "siim"),
)


class PackError(Exception):
    """A pack that cannot be used; one line that names the folder and the fix."""


@dataclass(frozen=True)
class Manifest:
    """The fields of manifest.json.

    `mean` and `std` are of pixels / 255 over all films. `counts` holds films, patients, duplicates, pairs of
    near duplicates, films by scheme and split, and positives by finding. `shards` lists the films of each shard and
    the sha256 of its files. `quarantined` of `items` rows and files of the source were refused; `usable` says whether
    that is within `max_quarantine`; `no_images` more files are sound and hold no image. `provenance` is what the source
    tells of its tables; `leaky` are the schemes that were published with patients in two splits. `mask_values` are all
    values of each of `masks`, where they are known, and `mask_counts` how many pixels have each of those.
    """

    source: str
    version: str
    share: str
    fingerprint: str
    findings: list[str]
    size: int
    fit: str
    shard_size: int
    mean: float
    std: float
    counts: dict[str, Any]
    masks: list[str]
    shards: list[dict[str, Any]]
    index_sha256: str
    items: int
    quarantined: int
    max_quarantine: float
    usable: bool
    tools: dict[str, str]
    format: int = FORMAT
    provenance: dict[str, str] = field(default_factory=dict)
    leaky: list[str] = field(default_factory=list)
    no_images: int = 0
    mask_values: dict[str, list[int]] = field(default_factory=dict)
    mask_counts: dict[str, list[int]] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, str]:
        """The sha256 of every file that holds pixels, masks or the table."""
        checksums = {INDEX: self.index_sha256}
        for shard in self.shards:
            checksums |= shard["files"]
        return checksums

    @property
    def digest(self) -> str:
        """Identifies the content: equal for equal films, labels and splits in equal order."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json: the act that makes a folder a pack."""
    write_atomically(folder / MANIFEST, (json.dumps(asdict(manifest), indent=1) + "\n").encode())


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json; PackError if the folder is no pack of this format."""
    try:
        fields = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        state = "is not finished" if any(folder.glob("rows-*.json")) else "is missing"
        raise PackError(
            f"the pack at {folder} {state}: run `python prepare.py {making(folder)}` "
            "(a real data set needs raw_dir=FOLDER_OF_ITS_DOWNLOAD too)"
        ) from None
    except ValueError:
        again = f"run `python prepare.py {making(folder)}` again"
        raise PackError(f"{folder / MANIFEST} is damaged: delete it and {again}") from None
    if fields.get("format") != FORMAT:
        raise PackError(
            f"the pack at {folder} has format {fields.get('format')}, this version reads {FORMAT}: "
            f"delete the folder and {prepare_again(folder, fields.get('source', folder.name))}"
        )
    return Manifest(**fields)


def making(folder: Path) -> str:
    """The words after prepare.py that make the pack at `folder`, which need not be named after its data."""
    if folder.name in NAMES:
        return f"data={folder.name}"
    return f"data=NAME data.pack={folder}"


def prepare_again(folder: Path, source: str) -> str:
    """The command that makes or repairs the pack of a source at `folder`, as the end of an error message."""
    place = "" if folder.name == source else f" data.pack={folder}"
    return f"run `python prepare.py data={source}{place}` again"
