"""A small MIMIC-CXR-JPG download in the exact official form, with planted faults on request."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cxr14_tree import grey
from PIL import Image

METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)
SPLIT = "dicom_id,study_id,subject_id,split"
CHEXPERT = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,"
    "Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
MIXED = ",-1.0,,0.0,,,,1.0,,,,,,"  # as most rows are: Cardiomegaly uncertain, no edema, an opacity, the rest blank
FOUND = {"Cardiomegaly": -1, "Edema": 0, "Lung Opacity": 1}


def dicom_id(number: int) -> str:
    """A name of the official form."""
    return "-".join(f"{number + part:08x}" for part in (0x02AA0000, 1, 2, 3, 4))


@dataclass
class MimicTree:
    """What `write` puts on disk; tests change it first."""

    root: Path
    metadata: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    chexpert: dict[int, str] = field(default_factory=dict)
    packed: bool = True
    chexpert_header: str = CHEXPERT

    def add(
        self, number: int, patient: int, *, view: str = "AP", split: str = "train", labels: str | None = MIXED
    ) -> None:
        """Rows of a film in all tables; one study a patient."""
        study = 50_000_000 + patient
        about = "CHEST (PORTABLE AP)", view, "3056,2544,21800506,213014.531,CHEST (PORTABLE AP),antero-posterior,Erect"
        self.metadata.append(f"{dicom_id(number)},{patient},{study},{','.join(about)}")
        if split:
            self.split.append(f"{dicom_id(number)},{study},{patient},{split}")
        if labels is not None:
            self.chexpert[study] = f"{patient},{study},{labels}"

    def path(self, number: int, patient: int, suffix: str = "jpg") -> Path:
        """Where the file of a film lies."""
        folder = self.root / "files" / f"p{str(patient)[:2]}" / f"p{patient}" / f"s{50_000_000 + patient}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{dicom_id(number)}.{suffix}"

    def save(self, number: int, patient: int, image: np.ndarray | None = None) -> Path:
        """The file of a film."""
        path = self.path(number, patient)
        Image.fromarray(grey(900_000 + number) if image is None else image).save(path)
        return path

    def write(self) -> Path:
        (self.root / "files").mkdir(parents=True, exist_ok=True)
        tables = {
            "metadata": [METADATA, *self.metadata],
            "split": [SPLIT, *self.split],
            "chexpert": [self.chexpert_header, *self.chexpert.values()],
        }
        for name, rows in tables.items():
            path = self.root / f"mimic-cxr-2.0.0-{name}.csv"
            content = ("\n".join(rows) + "\n").encode()
            if self.packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                path.write_bytes(content)
        return self.root


def good_mimic(root: Path, patients: int = 6) -> MimicTree:
    """An AP, a PA and a lateral film, and one of unknown view, of each patient; the last one is in test."""
    tree = MimicTree(root)
    for patient in range(10_000_001, 10_000_001 + patients):
        split = "test" if patient == 10_000_000 + patients else "train"
        for offset, view in enumerate(("AP", "PA", "LATERAL", "")):
            number = (patient - 10_000_000) * 10 + offset
            tree.add(number, patient, view=view, split=split)
            tree.save(number, patient)
    return tree


STUDY = 50_000_000 + 17_000_000
FAULTS = {
    dicom_id(7001): "missing",
    dicom_id(7002): "truncated",
    dicom_id(7003): "not_an_image",
    dicom_id(7004): "bad_label",
    dicom_id(7005): "no_row",
    dicom_id(7006): "odd_view",
    dicom_id(7007): "flat",
    dicom_id(7008): "bad_row",
    dicom_id(10): "duplicate_row",
    f"{dicom_id(7009)} (split)": "no_split",
    f"s{STUDY + 7010} (labels)": "no_labels",
    "../7011": "unsafe_name",
    "files/p17/p17007012/s67007012/" + dicom_id(11) + ".jpg": "duplicate_file",
}


def plant_faults(tree: MimicTree) -> None:
    """Add one item for each reason in FAULTS; 7009 and 7010 are films that stay, with a fault in a table."""
    patient = 17_000_000
    for number in (7001, 7002, 7003, 7007):
        tree.add(number, patient + number)
    tree.add(7004, patient + 7004, labels=MIXED.replace("-1.0", "3"))
    tree.add(7006, patient + 7006, view="SIDEWAYS")
    tree.add(7008, patient + 7008)
    tree.metadata[-1] = tree.metadata[-1].replace(f",{patient + 7008},", ",unknown,", 1)
    tree.add(7009, patient + 7009, split="")
    tree.add(7010, patient + 7010, labels=None)
    tree.metadata.append(tree.metadata[0])
    tree.metadata.append(f"../7011,{patient + 7011},{STUDY + 7011},,AP,1,1,,,,,")
    for number in (7002, 7003, 7004, 7005, 7006, 7008, 7009, 7010):
        tree.save(number, patient + number)
    tree.save(7007, patient + 7007, np.full((80, 80), 9, np.uint8))
    tree.save(11, patient + 7012, grey(7012))
    cut = tree.path(7002, patient + 7002)
    cut.write_bytes(cut.read_bytes()[:1500])
    tree.path(7003, patient + 7003).write_text("<html>quota exceeded</html>")
