"""A small CheXpert download in the exact official form, with planted faults on request."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cxr14_tree import grey
from PIL import Image

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
MIXED = "1.0,,0.0,-1.0,,,,,,,1.0,,,"  # as most rows are: few findings mentioned, one uncertain
LABELS = (1, -2, 0, -1, -2, -2, -2, -2, -2, -2, 1, -2, -2, -2)
NAME = "train/patient{:05d}/study{}/view1_frontal.jpg"


@dataclass
class ChexpertTree:
    """What `write` puts into `root`, which is named as `form`; tests change it first."""

    root: Path
    form: str = "CheXpert-v1.0-small"
    header: str = HEADER
    tables: dict[str, list[str]] = field(default_factory=lambda: {"train": [], "valid": []})

    def add(
        self, name: str, *, labels: str = MIXED, about: str = "Female,68,Frontal,AP", table: str = "", prefix: str = ""
    ) -> None:
        """A row of the table that the path of the film belongs to, unless another is named."""
        row = f"{prefix or self.form}/{name},{about},{labels}"
        self.tables[table or name.partition("/")[0]].append(row)

    def save(self, name: str, image: np.ndarray) -> Path:
        """The file of a film."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        return path

    def write(self) -> Path:
        for part, rows in self.tables.items():
            (self.root / part).mkdir(parents=True, exist_ok=True)
            (self.root / f"{part}.csv").write_text("\n".join([self.header, *rows]) + "\n")
        return self.root


def good_chexpert(root: Path, patients: int = 6, form: str = "CheXpert-v1.0-small") -> ChexpertTree:
    """A frontal and a lateral film of each of `patients` in train.csv, and two patients in valid.csv."""
    tree = ChexpertTree(root / form, form)
    for patient in range(1, patients + 1):
        add_film(tree, NAME.format(patient, 1), patient)
        lateral = NAME.format(patient, 1).replace("view1_frontal", "view2_lateral")
        add_film(tree, lateral, 1000 + patient, about="Female,68,Lateral,")
    for patient in (64541, 64542):
        add_film(tree, NAME.format(patient, 1).replace("train", "valid"), patient, about="Male,41,Frontal,PA")
    return tree


def add_film(tree: ChexpertTree, name: str, number: int, **row: str) -> None:
    """A row and its file."""
    tree.add(name, **row)
    tree.save(name, grey(500_000 + number))


FAULTS = {
    NAME.format(7001, 1): "missing",
    NAME.format(7002, 1): "truncated",
    NAME.format(7003, 1): "not_an_image",
    NAME.format(7004, 1): "bad_label",
    NAME.format(7005, 1): "no_row",
    NAME.format(7006, 1): "odd_view",
    NAME.format(7007, 1): "flat",
    NAME.format(7008, 1): "unsafe_name",
    "valid/patient07009/study1/view1_frontal.jpg": "bad_row",
    NAME.format(1, 1): "duplicate_row",
}
UNSAFE = f"CheXpert-v1.0-small/train/../{NAME.format(7008, 1)}"


def plant_faults(tree: ChexpertTree) -> dict[str, str]:
    """Add one item for each reason in FAULTS; returns what the quarantine must hold."""
    for number in (7002, 7007):
        tree.add(NAME.format(number, 1))
    tree.add(NAME.format(7001, 1))
    tree.add(NAME.format(7003, 1))
    tree.add(NAME.format(7004, 1), labels=MIXED.replace("-1.0", "2.0"))
    tree.add(NAME.format(7006, 1), about="Male,50,Oblique,AP")
    tree.tables["train"].append(f"{UNSAFE},Male,50,Frontal,AP,{MIXED}")
    tree.add("valid/patient07009/study1/view1_frontal.jpg", table="train")
    tree.tables["train"].append(tree.tables["train"][0])
    for number in (7002, 7003, 7004, 7005, 7006):
        tree.save(NAME.format(number, 1), grey(number))
    tree.save(NAME.format(7007, 1), np.full((80, 80), 9, np.uint8))
    tree.save("valid/patient07009/study1/view1_frontal.jpg", grey(7009))
    cut = tree.root / NAME.format(7002, 1)
    cut.write_bytes(cut.read_bytes()[:1500])
    (tree.root / NAME.format(7003, 1)).write_text("<html>quota exceeded</html>")
    return {UNSAFE if reason == "unsafe_name" else name: reason for name, reason in FAULTS.items()}
