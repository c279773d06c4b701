"""Start-up and memory with 520,000 films against 1,000: `python benchmarks/index.py [--rows 520000] [--repeats 3]`.

Packs with an index of the true form and pixels of no content are opened for training, each in a process of its own:
one pack, and three packs as one. Timed is what a run does before its first batch is read: data module, leakage gate
and the order of the first epoch.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evax.data.film import Film
from evax.data.findings import CHEXPERT, CXR14
from evax.data.index import CODED, TEXTS, arrow_bytes, build_index, coded, key_column, label_column, split_column
from evax.data.manifest import INDEX, Manifest, write_manifest
from evax.data.shards import PIXELS, Row, npy_header, shard_file

SIZE = 336
SHARD = 8192
PACKS = {"cxr14": (0.20, CXR14), "chexpert": (0.35, CHEXPERT), "mimic": (0.45, CHEXPERT)}  # shares of the films
SPLITS = ("test", "train", "val")


def main() -> None:
    """Build the packs, measure each in its own processes, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=520_000)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure[0], Path(args.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folders = {rows: Path(temporary) / str(rows) for rows in (args.few, args.rows)}
        for rows, folder in folders.items():
            write_pack(folder / "whole", "cxr14", rows, CXR14)
            for source, (share, findings) in PACKS.items():
                write_pack(folder / source, source, round(share * rows), findings)
        for kind in ("one pack", "three packs"):
            _compare(kind, folders, args.repeats)


def write_pack(folder: Path, source: str, rows: int, findings: tuple[str, ...]) -> None:
    """A pack of `rows` films of two or more a patient, 80 % train, 5 % val and 15 % test, whose pixels are holes."""
    folder.mkdir(parents=True)
    shards = []
    for number, start in enumerate(range(0, rows, SHARD)):
        count = min(SHARD, rows - start)
        header, name = npy_header(count, SIZE), shard_file(PIXELS, number)
        with (folder / name).open("wb") as file:
            file.write(header)
            file.truncate(len(header) + count * SIZE**2)
        shards.append({"rows": count, "files": {name: "0" * 64}})
    content = arrow_bytes(index_table(source, rows, findings))
    (folder / INDEX).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = Manifest(
        source=source, version="0", share="public", fingerprint="", findings=list(findings), size=SIZE, fit="stretch",
        shard_size=SHARD, mean=0.5, std=0.25, counts={"films": rows}, masks=[], shards=shards, index_sha256=digest,
        items=rows, quarantined=0, max_quarantine=0.01, usable=True, tools={},
    )  # fmt: skip
    write_manifest(folder, manifest)


def index_table(source: str, rows: int, findings: tuple[str, ...]) -> pa.Table:
    """An index as `build_index` makes it, of random content."""
    random = np.random.default_rng(rows)
    film = Film("0", "0", (0,) * len(findings), {"official": "train", "clean": "train"})
    none = np.zeros(1, np.uint64)
    keys = dict.fromkeys(("patient", "file", "pixel"), none)
    schema = build_index(
        [film], [Row(0, 1, 1, "00" * 32, "00" * 32, "00" * 40)], keys, findings, SIZE, "stretch"
    ).schema
    patients = np.sort(random.integers(0, max(1, rows // 3), rows)).astype(np.int32)
    draws = random.random(patients.max() + 1)[patients]
    splits = pa.array(np.digitize(draws, [0.15, 0.95]).astype(np.int32))
    columns: dict[str, Any] = {
        name: pa.array([f"files/p1/{source}/s{row:08d}/{row:08d}-image.jpg" for row in range(rows)]) for name in TEXTS
    }
    columns |= {name: coded(["AP"] * rows) for name in CODED}
    columns["patient_id"] = pa.DictionaryArray.from_arrays(
        pa.array(patients), pa.array([f"p{number:08d}" for number in range(patients.max() + 1)])
    )
    columns |= {
        split_column(scheme): pa.DictionaryArray.from_arrays(splits, pa.array(SPLITS))
        for scheme in ("official", "clean")
    }
    columns |= {label_column(name): pa.array(random.integers(-2, 2, rows, np.int8)) for name in findings}
    columns["boxes"] = pa.array([[]] * rows, schema.field("boxes").type)
    columns |= {
        name: pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), rows, [None, pa.py_buffer(random.bytes(32 * rows))])
        for name in ("file_sha256", "pixel_sha256", "fine")
    }
    of_patient = random.integers(1, 2**63, patients.max() + 1, np.uint64)
    columns[key_column("patient")] = pa.array(of_patient[patients])
    columns |= {key_column(kind): pa.array(random.integers(1, 2**63, rows, np.uint64)) for kind in ("file", "pixel")}
    missing = [name for name in schema.names if name not in columns]
    columns |= {name: pa.array(np.zeros(rows, schema.field(name).type.to_pandas_dtype())) for name in missing}
    return pa.table([columns[name] for name in schema.names], schema=schema)


def measure(kind: str, folder: Path) -> dict[str, float]:
    """Seconds and megabytes of this process: imports, and then all that comes before the first batch ("opening")."""
    start = time.perf_counter()
    from evax.data.merged import Merged520kData
    from evax.data.module import PackDataModule

    imported, base = time.perf_counter() - start, _resident()
    start_cpu = time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far counts from here
    start = time.perf_counter()
    settings: dict[str, Any] = {"image_size": 224, "batch_size": 64, "seed": 0, "num_workers": 0}
    if kind == "one pack":
        data = PackDataModule(pack=folder / "whole", **settings)
    else:
        tests = ("cxr14/official/test", "chexpert/clean/test")
        weights = dict.fromkeys(PACKS, 1.0)
        data = Merged520kData(pack=folder, sources=list(PACKS), weights=weights, test_sets=tests, **settings)
    sampler = data.train_sampler(seed=0, global_batch=64, micro_batch=64)
    assert len(next(iter(sampler))) == 64
    opened, opened_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "opening s": opened,
        "opening CPU s": opened_cpu,
        "opening MB": _resident("VmHWM") - base,
        "process s": imported + opened,
        "process CPU s": time.process_time(),
        "process MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _resident(field: str = "VmRSS") -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _compare(kind: str, folders: dict[int, Path], repeats: int) -> None:
    found: dict[int, list[dict[str, float]]] = {rows: [] for rows in folders}
    for _ in range(repeats):
        for rows, folder in folders.items():
            command = [sys.executable, __file__, "--measure", kind, str(folder)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[rows].append(json.loads(output))
    few, many = ({name: statistics.median(run[name] for run in runs) for name in runs[0]} for runs in found.values())
    print(f"{kind}: {' against '.join(f'{rows:,}' for rows in reversed(folders))} films")
    for name in few:
        print(f"  {name:13}  {many[name]:8.2f}  {few[name]:8.2f}  ratio {many[name] / few[name]:.2f}")


if __name__ == "__main__":
    main()
