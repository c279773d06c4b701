"""Small downloads of films with masks in their exact official forms; tests plant their faults."""

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cxr14_tree import grey
from PIL import Image
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SIDE = 1024  # of the published films of SIIM and RSNA


def disc(height: int = 80, width: int = 80, value: int = 1, *, left: float = 0.5) -> np.ndarray:
    """A mask (height, width) of 0 and `value`."""
    rows, columns = np.mgrid[:height, :width]
    return (((rows / height - 0.5) ** 2 + (columns / width - left) ** 2 < 0.04) * value).astype(np.uint8)


def save_png(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def png(values: np.ndarray, bit_depth: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """The file of samples (H, W, C) of 1, 2, 4 or 8 bits, as they are stored; `chunks` come before the pixels."""
    height, width, channels = values.shape
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bit_depth :]
    rows = np.packbits(bits.reshape(height, width * channels * bit_depth), axis=1)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", content), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts
    )


def cut(path: Path) -> None:
    """Leave a file half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def save_dicom(path: Path, number: int, *, side: int = 128, patient: str = "") -> Path:
    """A film that no other number gives, as the challenges publish them."""
    film = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    film.SOPClassUID = film.SOPInstanceUID = "1.2.3"
    film.PatientID, film.PatientSex, film.PatientAge, film.ViewPosition = patient or path.stem, "F", "051Y", "PA"
    film.Rows = film.Columns = side
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit = 7
    film.PixelData = np.kron(grey(number, 64, 64), np.ones((side // 64, side // 64), np.uint8)).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    film.save_as(path, enforce_file_format=True)
    return path


def write_lists(root: Path, **splits: list[str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")


def lung_tree(root: Path, *, value: int = 255) -> Path:
    """Six films in Train and three in Test, with masks of 0 and `value`."""
    for number in range(9):
        part = root / ("Train" if number < 6 else "Test")
        save_png(part / f"Images/CXR_{number}.png", grey(900 + number))
        save_png(part / f"Masks/CXR_{number}.png", disc(value=value, left=0.3 + number / 30))
    return root


def masks_tree(root: Path) -> Path:
    """Ten films with lungs of 0, 1 and 2, and lesions of 0 and 255; the list of test has two, that of train eight."""
    names = [f"film {number}.png" for number in range(10)]
    for number, name in enumerate(names):
        save_png(root / "images" / name, grey(950 + number, 80, 100))
        save_png(root / "lungs" / name, disc(80, 100, left=0.3) + disc(80, 100, 2, left=0.8))
        save_png(root / "lesions" / name, disc(80, 100, 255, left=0.05 * number))
    write_lists(root, train=names[:8], test=names[8:])
    return root


@dataclass
class RsnaTree:
    """What `write` puts on disk; tests change it first."""

    root: Path
    rows: list[str] = field(default_factory=list)
    identities: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, *boxes: tuple[float, float, float, float], nih: str | None = None) -> None:
        """A film with its boxes (x, y, width, height in pixels), and its name at NIH."""
        for box in boxes:
            self.rows.append(",".join([name, *map(str, box), "1"]))
        if not boxes:
            self.rows.append(f"{name},,,,,0")
        if nih:
            self.identities[name] = nih

    def save(self, name: str, number: int, side: int = 128) -> Path:
        return save_dicom(self.root / f"stage_2_train_images/{name}.dcm", number, side=side)

    def write(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        header = "patientId,x,y,width,height,Target"
        (self.root / "stage_2_train_labels.csv").write_text("\n".join([header, *self.rows]) + "\n")
        (self.root / "stage_2_train_images").mkdir(exist_ok=True)
        entries = [
            {"subset_img_id": name, "img_id": nih, "SOPInstanceUID": f"1.2.{number}", "orig_labels": ["Pneumonia"]}
            for number, (name, nih) in enumerate(self.identities.items())
        ]
        (self.root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(entries))
        return self.root


def rsna_id(number: int) -> str:
    return f"0004cfab-14fd-4e49-80ba-{number:012d}"


def good_rsna(root: Path, *, side: int = 128) -> RsnaTree:
    """Four films of three patients with a box or two, and one without."""
    tree = RsnaTree(root)
    tree.add(rsna_id(0), (264.0, 152.0, 213.0, 379.0), (562.0, 152.0, 256.0, 453.0), nih="00000005_006.png")
    tree.add(rsna_id(1), (100.0, 200.0, 64.0, 32.0), nih="00000005_007.png")
    tree.add(rsna_id(2), (0.0, 0.0, 1024.0, 10.0), (300.0, 300.0, 400.0, 400.0), nih="00001304_001.png")
    tree.add(rsna_id(3), (10.0, 20.0, 30.0, 40.0), nih="00001305_000.png")
    tree.add(rsna_id(4), nih="00001306_000.png")
    for number in range(5):
        tree.save(rsna_id(number), number, side)
    return tree


@dataclass
class SiimTree:
    """What `write` puts on disk: the table of either stage, and films by study and series."""

    root: Path
    stage: int = 2
    rows: list[tuple[str, str]] = field(default_factory=list)

    def save(self, name: str, number: int, folder: str = "dicom-images-train", **settings: Any) -> Path:
        return save_dicom(self.root / folder / f"1.2.{number}" / f"1.3.{number}" / f"{name}.dcm", number, **settings)

    def write(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        name, header, gap = ("stage_2_train.csv", "ImageId,EncodedPixels", "")
        if self.stage == 1:
            name, header, gap = ("train-rle.csv", "ImageId, EncodedPixels", " ")
        rows = [f"{film},{gap}{runs}" for film, runs in self.rows]
        (self.root / name).write_text("\n".join([header, *rows]) + "\n")
        return self.root


def siim_id(number: int) -> str:
    return f"1.2.276.0.7230010.3.1.4.8323329.{number}.1517875176.240639"


def good_siim(root: Path, *, stage: int = 2, side: int = 128) -> SiimTree:
    """Three films with a pneumothorax, one of them in two rows, and one without."""
    tree = SiimTree(root, stage)
    tree.rows += [(siim_id(0), "2048 100 924 100"), (siim_id(0), "10240 50"), (siim_id(1), "0 10"), (siim_id(2), "5 5")]
    tree.rows += [(siim_id(3), "-1")]
    for number in range(4):
        tree.save(siim_id(number), 20 + number, patient=f"person {number}", side=side)
    return tree


def shenzhen_id(number: int, label: int = 1) -> str:
    return f"CHNCXR_{number:04d}_{label}"


def shenzhen_tree(root: Path) -> Path:
    """Ten abnormal films with one to three masks each, and a normal film."""
    for number in range(327, 337):
        name = shenzhen_id(number)
        save_png(root / f"CXR_png/{name}.png", grey(number, 80, 90))
        for instance in range(number % 3 + 1):
            mask = disc(80, 90, 255, left=0.3 * instance + 0.1)
            save_png(root / f"Annotations/masks/{name}_Nodule_{instance}.png", mask)
    save_png(root / f"CXR_png/{shenzhen_id(1, 0)}.png", grey(1, 80, 90))
    return root
