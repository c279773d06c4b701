"""A small ChestX-ray14 download in the exact official form, with planted faults on request."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def grey(number: int, height: int = 80, width: int = 80) -> np.ndarray:
    """A film that no other number gives: noise on a ramp, (height, width) uint8."""
    noise = np.random.default_rng(number).integers(0, 120, (height, width))
    return (noise + np.linspace(0, 120, width)).astype(np.uint8)


@dataclass
class Tree:
    """What `write` puts on disk; tests change it first."""

    root: Path
    rows: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    train_val: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    table: str = "Data_Entry_2017_v2020.csv"

    def add(self, name: str, patient: int, split: str, *, labels: str = "No Finding", age: str = "50") -> None:
        self.rows.append(f"{name},{labels},0,{patient},{age},F,PA,2682,2749,0.143,0.143")
        (self.train_val if split == "train_val" else self.test).append(name)

    def save(self, name: str, image: np.ndarray, folder: str = "images") -> Path:
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        return path

    def write(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "images").mkdir(exist_ok=True)
        (self.root / self.table).write_text("\r\n".join([HEADER, *self.rows]) + "\r\n")
        (self.root / "BBox_List_2017.csv").write_text("\r\n".join([BOX_HEADER, *self.boxes]) + "\r\n")
        (self.root / "train_val_list.txt").write_text("\n".join(self.train_val))
        (self.root / "test_list.txt").write_text("\n".join(self.test))
        return self.root


def good_tree(root: Path, patients: int = 6, films: int = 2) -> Tree:
    """Sound films of `patients` patients (1000, 1001, ...), the last third of them on the test list."""
    tree = Tree(root)
    for patient in range(1000, 1000 + patients):
        for follow_up in range(films):
            name = f"{patient:08d}_{follow_up:03d}.png"
            split = "train_val" if patient < 1000 + patients * 2 // 3 else "test"
            tree.add(name, patient, split, labels="Mass|Effusion" if follow_up else "No Finding")
            tree.save(name, grey(patient * 10 + follow_up))
    return tree


FAULTS = {
    "00007001_000.png": "missing",
    "00007002_000.png": "truncated",
    "00007003_000.png": "not_an_image",
    "00007004_000.png": "unknown_finding",
    "00007005_000.png": "no_row",
    "00007006_000.png": "too_small",
    "00007007_000.png": "flat",
    "00007008_000.png": "aspect",
    "../00007009_000.png": "unsafe_name",
    "00001000_000.png": "duplicate_row",
}


def plant_faults(tree: Tree) -> None:
    """Add one item for each reason in FAULTS, and two odd but sound films (16 bit and RGBA)."""
    for name, reason in FAULTS.items():
        if reason not in ("no_row", "duplicate_row", "unknown_finding"):
            tree.add(name, int(name[-12:-8]), "train_val")
    tree.rows.append(tree.rows[0])
    tree.add("00007004_000.png", 7004, "train_val", labels="Mass|Lumbago")
    tree.save("00007004_000.png", grey(4))
    cut = tree.save("00007002_000.png", grey(2))
    cut.write_bytes(cut.read_bytes()[:2000])
    (tree.root / "images/00007003_000.png").write_text("<html>quota exceeded</html>")
    tree.save("00007005_000.png", grey(5))
    tree.save("00007006_000.png", grey(6, 40, 80))
    tree.save("00007007_000.png", np.full((80, 80), 9, np.uint8))
    tree.save("00007008_000.png", grey(8, 80, 250))
    tree.add("00007010_000.png", 7010, "train_val")
    tree.save("00007010_000.png", grey(10).astype(np.uint16) * 257)
    tree.add("00007011_000.png", 7011, "train_val")
    alpha = np.full((80, 80), 255, np.uint8)
    tree.save("00007011_000.png", np.dstack([grey(11)] * 3 + [alpha]))
