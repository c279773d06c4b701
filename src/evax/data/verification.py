"""Is a pack what its manifest says? Every file is read; one line for each fault."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from evax.data.atomic import sha256_of
from evax.data.index import label_column, map_index, split_column, to_numpy
from evax.data.labels import NOT_MENTIONED, PRESENT
from evax.data.manifest import INDEX, QUARANTINE, Manifest, prepare_again, read_manifest


def verify(folder: Path) -> tuple[Manifest, list[str]]:
    """The manifest of a pack and what is wrong with its files, counts and labels; PackError if it is no pack."""
    manifest = read_manifest(folder)
    faults = [fault for name, digest in manifest.files.items() if (fault := _file_fault(folder / name, digest))]
    if faults:
        faults.append(f"delete the files named above and {prepare_again(folder, manifest.source)}")
    faults += _index_faults(folder / INDEX, manifest)
    if not manifest.usable:
        faults.append(
            f"unusable: {manifest.quarantined} of {manifest.items} items are in {QUARANTINE}, above "
            f"max_quarantine={manifest.max_quarantine:g}"
        )
    return manifest, faults


def _file_fault(path: Path, digest: str) -> str:
    if not path.is_file():
        return f"{path.name}: missing"
    try:
        return "" if sha256_of(path) == digest else f"{path.name}: its sha256 is not the manifest's"
    except OSError as error:
        return f"{path.name}: cannot be read ({error.strerror})"


def _index_faults(path: Path, manifest: Manifest) -> list[str]:
    """Where the table disagrees with the manifest."""
    try:
        table = map_index(path)
    except (OSError, pa.ArrowInvalid):
        return [f"{path.name}: cannot be read as a table"]
    missing = [label_column(name) for name in manifest.findings if label_column(name) not in table.column_names]
    missing += [
        split_column(name) for name in manifest.counts["splits"] if split_column(name) not in table.column_names
    ]
    if missing:
        return [f"{path.name}: lacks the columns {', '.join(missing)}"]
    found = _counts(table, manifest) | {"films in the shards": table.num_rows}
    said = manifest.counts | {"films in the shards": sum(shard["rows"] for shard in manifest.shards)}
    faults = [
        f"{path.name}: {name}: {value} in the table, {said[name]} in the manifest"
        for name, value in found.items()
        if value != said[name]
    ]
    labels = np.concatenate(
        [np.empty(0, np.int8), *(to_numpy(table[label_column(name)]) for name in manifest.findings)]
    )
    num_odd = int(((labels < NOT_MENTIONED) | (labels > PRESENT)).sum())
    return faults + ([f"{path.name}: {num_odd} labels are none of 1, 0, -1, -2"] if num_odd else [])


def _counts(table: pa.Table, manifest: Manifest) -> dict[str, object]:
    """What the manifest counts, counted again."""
    splits = {
        scheme: {
            name: count for name, count in sorted(Counter(table[split_column(scheme)].to_pylist()).items()) if name
        }
        for scheme in manifest.counts["splits"]
    }
    return {
        "films": table.num_rows,
        "patients": len(set(table["patient_id"].to_pylist())),
        "splits": splits,
        "positives": {name: int((to_numpy(table[label_column(name)]) == PRESENT).sum()) for name in manifest.findings},
    }
