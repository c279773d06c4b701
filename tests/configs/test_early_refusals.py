"""Mistakes that need no torch are answered before it is imported, and leave nothing behind."""

import json
import os
import subprocess
import sys

import pytest
from composing import REPOSITORY

from evax.config import RUN_DIR_VARIABLE

# Every command line is one mistake; PACK is a pack of 24 phantoms, RUN the run directory of a pre-training on it.
MISTAKES = {
    "train.py": "the pack at PACKS/phantom is missing: run `python prepare.py data=phantom`",
    "train.py experiment=pretrain_vit_s": "the pack at PACKS/cxr14 is missing",
    "train.py experiment=pretrain_vit_s data=phantom": "tokenizer.weights=weights/vit_base.ckpt: no such file",
    "train.py data.pack=PACK data.split=offical": "data.split=offical: the pack at PACK has no such split; it has",
    "train.py data.pack=PACK data.fit_on=[holdout]": "data.split=official has no images in holdout",
    "train.py data.pack=PACK batch_size=1024": "batch_size=1024 is more than 20 training images; use batch_size=2",
    "train.py data.pack=PACK batch_size=7 per_device_batch=2": "batch_size=7 does not divide into 1 devices",
    "train.py data.pack=PACK batch_size=8 trainer.devices=3": "batch_size=8 does not divide over 3 devices",
    "train.py data.pack=PACK plan=true batch_size=1024": "batch_size=1024 is more than 20",
    "train.py data.pack=PACK masking.ratio=1.5": "masking.ratio is 1.5",
    "train.py data.pack=PACK weights=nope.pt": "weights=nope.pt: no such file or folder",
    "train.py data.pack=PACK weights=https://x.org/w.pt": "weights=https://x.org/w.pt: no such file or folder;",
    "train.py data.pack=PACK weights=eva_x_small": "`python -m evax.checkpoints fetch eva_x_small` fetches it",
    "train.py data.pack=PACK trainer.precision=fp16": "trainer.precision=fp16 is not supported",
    "train.py data.pack=PACK protocol=official": "protocol=official: pre-training has one protocol",
    "train.py data.pack=PACK backbone=vit_small_deit": "backbone.name=deit_small_patch16_224: pre-training needs",
    "train.py experiment=demo_finetune data.pack=PACK data.labels.findings=[Mass,lump]": "the pack has no 'lump'",
    "train.py experiment=demo_finetune data.pack=PACK weights=nope": "weights=nope: no such file or folder",
    "train.py experiment=demo_segment data.pack=PACK data.masks.mask=liver": "liver",
    "train.py resume=nowhere": "resume=nowhere: there is no config.yaml; name a run directory",
    "train.py resume=RUN/checkpoints": "there is no config.yaml; name a run directory, resume=RUN",
    "train.py sweep=mask_ratio": "sweep= is several runs; say so by -m",
    "train.py --experiment demo_pretrain": "--experiment demo_pretrain: write experiment=demo_pretrain",
    "train.py epochs=3": "epochs: no such key; did you mean 'trainer.max_epochs'?",
    "prepare.py data=cxr14": "raw_dir: name the folder",
    "prepare.py data=cxr14 raw_dir=nowhere": "raw_dir=nowhere: no such folder",
    "prepare.py data=cxr14 raw_dir=PACK": "raw_dir=PACK lacks Data_Entry_2017_v2020.csv",
    "prepare.py data=folder raw_dir=PACK/manifest.json": "raw_dir=PACK/manifest.json: is a file",
    "train.py batch_size=big": "batch_size=big: give a whole number above 0",
    "train.py trainer.devices=0": "trainer.devices=0: give a whole number above 0",
    "train.py -m masking.rato=0.2,0.3": "masking.rato: no such key; did you mean 'ratio'?",
    "evaluate.py": "features=backbone needs run=",
    "explain.py": "a fine-tuning, or weights=FILE",
    "evaluate.py run=nowhere": "run=nowhere: there is no config.yaml",
    "evaluate.py run=GONE": "packs/gone is missing",
    "evaluate.py weights=nope data.pack=PACK": "weights=nope: no such file or folder",
    "evaluate.py weights=nope data.pack=PACK features=classifier": "weights=nope: no such file or folder",
    "evaluate.py run=RUN against=[nowhere]": "against=nowhere: no such folder",
    "evaluate.py weights=PACK/manifest.json data=cxr14": "the pack at PACKS/cxr14 is missing",
    "evaluate.py weights=PACK/manifest.json data.pack=PACK data.split=x": "data.split=x: the pack at PACK has no such",
    "explain.py run=nowhere": "run=nowhere: there is no config.yaml",
    "explain.py weights=nope images=PACK": "weights=nope: no such file or folder",
    "explain.py weights=PACK/manifest.json images=nowhere": "images=nowhere: no such folder",
    "explain.py weights=PACK/manifest.json images=PACK/manifest.json": "manifest.json: is a file; give its folder",
    "-m evax.predict --weights nope --images PACK": "--weights=nope: no such file or folder",
}


@pytest.fixture(scope="module")
def answers(tiny_pack, tmp_path_factory):
    """What each mistake is answered, from one process in an empty folder."""
    elsewhere, runs = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("some_runs")
    for name, pack in (("run", tiny_pack), ("gone", elsewhere / "packs" / "gone")):
        (runs / name / "checkpoints").mkdir(parents=True)
        (runs / name / "config.yaml").write_text(f"data: {{pack: {pack}, split: official}}")
    places = {"PACKS": "packs", "PACK": str(tiny_pack), "RUN": str(runs / "run"), "GONE": str(runs / "gone")}

    def placed(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    environment = {key: value for key, value in os.environ.items() if key not in ("EVAX_PACKS", "EVAX_RUNS")}
    environment.pop(RUN_DIR_VARIABLE, None)
    lines = [placed(line) for line in MISTAKES]
    lines = [line if line.startswith("-m") else f"{REPOSITORY}/{line}" for line in lines]
    command = [sys.executable, str(REPOSITORY / "tests" / "command_lines.py")]
    done = subprocess.run(
        command, cwd=elsewhere, env=environment, input="\n".join(lines), capture_output=True, text=True, check=True
    )
    found = dict(zip(MISTAKES, map(json.loads, done.stdout.splitlines()), strict=True))
    return {line: answer | {"told": placed(MISTAKES[line])} for line, answer in found.items()}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_answered_in_one_line_without_torch(line, answers):
    answer = answers[line]
    first = answer["text"].splitlines()[0]
    assert first.startswith("error: ")
    assert answer["told"] in first
    assert answer["code"] == (2 if line.startswith("-m") else 1)
    assert answer["heavy"] == []


@pytest.mark.parametrize("line", MISTAKES)
def test_a_refused_command_leaves_nothing_in_the_folder_where_it_was_given(line, answers):
    assert answers[line]["left"] == []
