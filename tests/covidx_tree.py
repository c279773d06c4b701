"""Small COVIDx downloads in the exact official forms, with planted faults on request."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cxr14_tree import grey
from PIL import Image

LISTS = {
    "covidx3": {"train": "train_COVIDx9A.txt", "test": "test_COVIDx9A.txt"},
    "covidx4": {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
}


@dataclass
class CovidxTree:
    """What `write` puts into `root`; tests change it first."""

    root: Path
    task: str
    lines: dict[str, list[str]] = field(default_factory=dict)
    end: str = "\n"
    start: str = ""

    def add(self, split: str, patient: str, file: str, label: str, origin: str, *, number: int | None = None) -> None:
        """A line of the list of a split and, where it has a number, its film."""
        self.lines.setdefault(split, []).append(f"{patient} {file} {label} {origin}".rstrip())
        if number is not None:
            self.save(split, file, grey(700_000 + number))

    def save(self, folder: str, file: str, image: np.ndarray) -> Path:
        path = self.root / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        return path

    def write(self) -> Path:
        for split, name in LISTS[self.task].items():
            (self.root / split).mkdir(parents=True, exist_ok=True)
            text = self.start + self.end.join(self.lines.get(split, [])) + self.end
            (self.root / name).write_bytes(text.encode())
        return self.root


def good_covidx3(root: Path) -> CovidxTree:
    """Films of the collections of version 9A, by names as they have them."""
    tree = CovidxTree(root, "covidx3")
    tree.add("train", "3", "SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg", "pneumonia", "cohen", number=1)
    tree.add("train", "3", "SARS-10.1148rg.242035193-g04mr34g0-Fig8b-day5.jpeg", "pneumonia", "cohen", number=2)
    tree.add("train", "311a", "10.1016-slash-j.crad.2020.04.002-a.png", "COVID-19", "cohen", number=3)
    tree.add("train", "COVID_305", "COVID(305).png", "COVID-19", "sirm", number=4)
    tree.add("train", "ANON7", "portable chest 7.png", "COVID-19", "actmed", number=5)
    uuid = "33ab4fe9-ce46-41c0-9074-c7ef83765af7"
    tree.add("train", uuid, f"{uuid}.png", "pneumonia", "rsna", number=6)
    for number in range(6):
        uuid = f"47c78742-4998-4878-aec4-37b11b1354{number:02d}"
        tree.add("train", uuid, f"{uuid}.png", "normal", "rsna", number=10 + number)
    uuid = "8989e25c-a698-48fc-b428-fff56931fc8f"
    tree.add("test", uuid, f"{uuid}.png", "normal", "rsna", number=20)
    patient = "419639-003251"
    tree.add("test", patient, f"MIDRC-RICORD-1C-{patient}-46647-0.png", "COVID-19", "ricord", number=21)
    tree.add("test", patient, f"MIDRC-RICORD-1C-{patient}-46647-1.png", "COVID-19", "ricord", number=22)
    return tree


def good_covidx4(root: Path, patients: int = 6) -> CovidxTree:
    """`patients` of one film each in train, two in val and two in test, negative and positive in turn."""
    tree = CovidxTree(root, "covidx4")
    for split, count, start in (("train", patients, 0), ("val", 2, 1000), ("test", 2, 2000)):
        for patient in range(start, start + count):
            label = ("negative", "positive")[patient % 2]
            tree.add(split, f"S{patient:05d}", f"film-{patient}.png", label, "bimcv", number=patient)
    return tree


FAULTS = {
    "train/missing.png": "missing",
    "train/cut.png": "truncated",
    "train/page.png": "not_an_image",
    "train/odd label.png": "bad_label",
    "train/unlisted.png": "no_row",
    "train/black.png": "flat",
    "../elsewhere.png": "unsafe_name",
    "train/COVID(305).png": "duplicate_row",
}


def plant_faults(tree: CovidxTree) -> dict[str, str]:
    """Add one item for each reason in FAULTS, and a line that is none; returns what the quarantine must hold."""
    for number, (item, reason) in enumerate(FAULTS.items()):
        if reason not in ("no_row", "duplicate_row"):
            name = item.removeprefix("train/")
            tree.add("train", f"F{number}", name, "unclear" if reason == "bad_label" else "normal", "rsna")
        if reason in ("truncated", "bad_label", "no_row"):
            tree.save(".", item, grey(800_000 + number))
    tree.lines["train"].append(tree.lines["train"][3])
    tree.lines["train"].append("alone")
    cut = tree.root / "train/cut.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    (tree.root / "train/page.png").write_text("<html>quota exceeded</html>")
    tree.save("train", "black.png", np.full((80, 80), 9, np.uint8))
    return FAULTS | {f"train_COVIDx9A.txt line {len(tree.lines['train'])}": "bad_row"}
