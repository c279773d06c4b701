import json
import pickle

import numpy as np
import pytest
from composing import CONF
from cxr14_tree import good_tree, grey

from evax.data.film import Film, Pixels
from evax.data.manifest import NAMES, PackError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.base import Source
from evax.data.sources.cxr14 import ChestXray14Source

SIZE = 80  # that of the films, so that pixels are kept as they are


class MaskedSource(Source):
    """Five films with a mask that is brighter than 100, in no split scheme, with all four label values."""

    name = "masked"
    version = "1"
    share = "credentialed"
    findings = ("Mass",)

    def films(self):
        return [Film(f"m{n}", f"p{n}", ((1, 0, -1, -2, 0)[n],)) for n in range(5)], []

    def read(self, film):
        image = grey(int(film.image_id[1:]), SIZE, SIZE)
        return Pixels(image, {"bright": (image > 100).astype(np.uint8)})

    def fingerprint(self):
        return "constant"


@pytest.fixture
def folder(tmp_path):
    tree = good_tree(tmp_path / "raw")
    tree.boxes = ["00001004_000.png,Mass,256,512,128,64"]
    prepare(ChestXray14Source(tree.write()), tmp_path / "pack", size=SIZE, workers=0, shard_size=5)
    return tmp_path / "pack"


@pytest.fixture
def masked(tmp_path):
    prepare(MaskedSource(), tmp_path / "masked", size=SIZE, workers=0, shard_size=2)
    return Pack(tmp_path / "masked")


def test_pixels_over_all_shards(folder):
    pack = Pack(folder)
    for row, (patient, follow_up) in enumerate((p, f) for p in range(1000, 1006) for f in range(2)):
        np.testing.assert_array_equal(pack.image(row), grey(patient * 10 + follow_up))


def test_image_is_a_copy(folder):
    pack = Pack(folder)
    pack.image(3)[:] = 0
    assert pack.image(3).any()


@pytest.mark.parametrize("row", [-1, 12])
def test_row_outside_the_pack(folder, row):
    with pytest.raises(IndexError, match=f"row {row} of a pack of 12 films"):
        Pack(folder).image(row)


def test_columns_are_flat_arrays(folder):
    pack = Pack(folder)
    columns = (pack.image_ids, pack.patient_ids, pack.views, pack.sexes, pack.ages, pack.split("official"))
    assert all(column.shape == (12,) and not column.dtype.hasobject for column in columns)
    assert (pack.labels.dtype, pack.labels.shape) == (np.int8, (12, 14))
    assert pack.labels[1, pack.findings.index("Mass")] == 1
    assert pack.image_ids[8] == "00001004_000.png"
    assert pack.patient_ids[8] == "1004"


def test_mean_and_std_are_of_unit_pixels(folder):
    pack = Pack(folder)
    pixels = np.stack([pack.image(row) for row in range(len(pack))]) / 255
    assert pack.mean == pytest.approx(pixels.mean())
    assert pack.std == pytest.approx(pixels.std())


def test_boxes(folder):
    pack = Pack(folder)
    assert pack.boxes(8) == (("Mass", 0.25, 0.5, 0.125, 0.0625),)
    assert pack.boxes(0) == ()


def test_masks_and_label_values(masked):
    for row in range(5):
        np.testing.assert_array_equal(masked.mask("bright", row), masked.image(row) > 100)
    assert masked.labels[:, 0].tolist() == [1, 0, -1, -2, 0]
    assert (masked.share, masked.schemes) == ("credentialed", ())


def test_unknown_mask_and_scheme_name_the_known(masked, folder):
    with pytest.raises(ValueError, match=r"mask=lungs is unknown.*it has: bright"):
        masked.mask("lungs", 0)
    with pytest.raises(ValueError, match=r"data\.split=sample: .* has no such split; it has official"):
        Pack(folder).split("sample")


def test_pickles_small_and_reads_again(folder):
    pack = Pack(folder)
    pack.image(0)
    data = pickle.dumps(pack)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).image(7), pack.image(7))


def test_no_pack(tmp_path):
    with pytest.raises(PackError, match=r"cxr14 is missing: run `python prepare.py data=cxr14`"):
        Pack(tmp_path / "cxr14")


def test_no_pack_of_another_name_than_its_data(tmp_path):
    with pytest.raises(PackError, match=r"demo is missing: run `python prepare.py data=NAME data.pack=\S*demo`"):
        Pack(tmp_path / "demo")


def test_names_of_packs_are_those_of_their_data():
    known = {path.stem for path in (CONF / "source").glob("*.yaml")} - {"merged520k"}  # which reads other packs
    assert set(NAMES) == known


def test_unfinished_pack(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(PackError, match="is not finished"):
        Pack(folder)


def test_a_cut_index_is_named(folder):
    path = folder / "index.arrow"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PackError, match=r"\(index.arrow\)"):
        Pack(folder)


def test_texts_are_made_for_the_rows_asked_for(folder):
    assert Pack(folder).texts("patient_id", np.array([8, 0])) == ["1004", "1000"]


def test_patients_are_numbered_by_name(folder):
    pack = Pack(folder)
    assert pack.patients.tolist() == [row // 2 for row in range(12)]
    assert not pack.patients.flags.owndata  # it lies in the mapped file


def test_rows_of_several_splits(folder):
    pack = Pack(folder)
    splits = pack.split("official")
    np.testing.assert_array_equal(pack.is_in("official", ["train", "test"]), splits != "val")
    with pytest.raises(ValueError, match=r"data\.split=sample: .* has no such split; it has official"):
        pack.is_in("sample", ["train"])


@pytest.mark.parametrize("name", ["pixels-00001.npy", "index.arrow"])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(PackError, match=f"{name}.*python prepare.py data=cxr14"):
        Pack(folder)


def test_cut_shard_is_named(folder):
    path = folder / "pixels-00002.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackError, match=r"\(pixels-00002.npy\)"):
        Pack(folder)


def test_another_format_is_refused(folder):
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**fields, "format": 99}))
    with pytest.raises(PackError, match="has format 99, this version reads 2"):
        Pack(folder)


def test_digest_identifies_the_content(folder, tmp_path):
    source = ChestXray14Source(tmp_path / "raw")
    prepare(source, tmp_path / "same", size=SIZE, workers=0, shard_size=5)
    prepare(source, tmp_path / "smaller", size=40, workers=0, shard_size=5)
    assert Pack(tmp_path / "same").digest == Pack(folder).digest
    assert Pack(tmp_path / "smaller").digest != Pack(folder).digest
