"""Every command of README and docs that can run on phantoms or the sample does so, made small, page by page."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from doc_commands import REPOSITORY, commands

from evax.data.pack import Pack

pytestmark = pytest.mark.slow
COMMANDS = {str(command): command for command in commands()}

NOT_RUN = {  # by the beginning of a command: why it is not run here
    "make test": "it is what runs this",
    "make install": "it makes the environment in which this runs",
    ". .venv": "it enters that environment",
    "python -m evax.checkpoints fetch": "it downloads",
    "python train.py experiment=finetune_cxr14_vit_ti": "batches of 1,024 need all of ChestX-ray14",
    "python train.py experiment=finetune_cxr14_vit_s weights=weights/": "it begins from the fetched file",
    "python train.py experiment=segment_siim_vit_s": "it needs SIIM-ACR and the fetched file",
    "python train.py experiment=segment_lung_vit_s data=masks": "it needs a file to begin from, and masks of one's own",
    "python evaluate.py 'compare=[[A0,": "it compares six runs",
    "python train.py -m sweep=labels": "it is three runs on all of ChestX-ray14",
    "python evaluate.py -m features=classifier": "it needs the packs of two data sets",
    "python -m evax.report transfer": "it needs that evaluation",
    "python evaluate.py data=covidx4 features=pixels target=origin": "phantoms are of one collection",
    "python evaluate.py weights=RUN features=segmenter data=rsna": "it needs RSNA",
    "python train.py -m sweep=mask_ratio": "it is three runs (tests/distributed/test_multirun.py)",
    "python train.py experiment=sample_pretrain logger=wandb logger.wandb.offline=false": "it needs an account of W&B",
    "python -m evax.report workspace": "it needs an account of W&B",
    **dict.fromkeys(("wandb", "tensorboard", "pip", "module", "export", "srun"), "it is another program's"),
}
PROBE = "draws=50 repeats=1 readouts=[four_blocks] strengths=[0.01] min_positives=1"
BRIEF = "trainer.max_epochs=1 optim.warmup_epochs=0.5 image_size=64"
FEW = "num_films=2 num_checked=2 num_figures=1 draws=20 batch_size=2"
ADDED = {  # by a pattern: words that make a command small
    r"prepare.py data=cxr14": "size=96",
    r"prepare.py data=phantom": "source.num_films=160 size=64",
    r"prepare.py data=folder": "size=64",
    r"train.py experiment=(demo|sample)_pretrain": "trainer.check_val_every_n_epoch=1",
    r"train.py experiment=sample": "batch_size=16 data.fraction=0.2",
    r"train.py experiment=(demo|sample)_(pretrain|finetune|square)": BRIEF,
    r"train.py experiment=demo_segment": f"{BRIEF} data.fraction=1.0 model.channels=16",
    r"train.py .*data=folder": f"{BRIEF} backbone=eva_x_tiny batch_size=4",
    r"train.py .*then=probe": " ".join(f"then.{word}" for word in PROBE.split()),
    r"evaluate.py run=(?!.*segmenter)": PROBE,
    r"evaluate.py data=covidx4 features": "draws=50 repeats=1 min_positives=1",
    r"evaluate.py .*(classifier|compare)": "draws=50",
    r"evaluate.py .*segmenter": "draws=50",
    r"explain.py": FEW,
}
CHANGED = {  # by a pattern: what stands in place of data and runs that are not there
    r"precision=auto ": "",
    r"raw_dir=/data/ChestXray14": "raw_dir={shared}/nih_cxr14_sample",
    r"runs/finetune_cxr14_vit_s/TIME": "runs/sample_finetune/TIME",
    r"runs/segment_siim_vit_s/TIME": "runs/demo_segment/TIME",
    r"data=(chexpert|covidx4)": "data=phantom data.pack=packs/demo",
    r"window=512 stride=256": "window=32 stride=16",
    r"data=folder weights=FILE": "data=folder weights=null",
    r"data=cxr14 data.pack=PACK": "data=cxr14 data.pack=packs/cxr14 data.split=official",
    r"weights=FILE data=cxr14": "weights=runs/sample_finetune/TIME data=cxr14",
    r"RUN_A,RUN_B": "runs/demo_finetune/TIME,runs/demo_second/TIME",
    r"RUN_OR_FILE|weights=FILE": "weights=runs/demo_finetune/TIME",
    r"weights=weights=": "weights=",
    r"\bRUN\b(?=.*(segmenter|safetensors)|.*predict)": "runs/demo_segment/TIME",
    r"weights=RUN images": "weights=runs/demo_segment/TIME images",
    r"\bRUN\b": "runs/demo_finetune/TIME",
    r"\bFOLDER\b": "images",
}
BEFORE = {"python evaluate.py 'compare=[RUN_A": "python train.py experiment=demo_finetune seed=1 name=demo_second"}


def reason(text: str) -> str | None:
    return next((why for beginning, why in NOT_RUN.items() if text.startswith(beginning)), None)


class Place:
    """A folder with what the commands make, in which they are given."""

    def __init__(self, folder: Path, shared: Path | None) -> None:
        self.folder, self.shared = folder, shared
        names = ("EVAX_PACKS", "EVAX_RUNS", "EVAX_RUN_DIR")
        self.environment = {name: value for name, value in os.environ.items() if name not in names}
        self.environment |= {"WANDB_MODE": "offline", "EVAX_TRACEBACK": "1"}

    def small(self, text: str) -> list[str]:
        """The words of a command, made small and filled in."""
        words = [extra for pattern, extra in ADDED.items() if re.search(pattern, text) and "resume=" not in text]
        for pattern, instead in CHANGED.items():
            text = re.sub(pattern, instead.replace("{shared}", str(self.shared)), text)
        return [self.placed(word) for word in shlex.split(" ".join([text, *words]))]

    def placed(self, word: str) -> str:
        """A word with the newest run in place of TIME, and the scripts where they are."""
        for name in re.findall(r"runs/(\w+)/TIME", word):
            newest = max((self.folder / "runs" / name).iterdir())
            word = word.replace(f"runs/{name}/TIME", f"runs/{name}/{newest.name}")
        return str(REPOSITORY / word) if re.fullmatch(r"\w+\.py", word) else word

    def run(self, text: str) -> None:
        """Give a command, and assert that it ends well."""
        _, *words = self.small(text)
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

    def make_demo(self) -> None:
        """The lines of `make demo` that are evax's; the last one needs more than a tiny student."""
        lines = subprocess.run(("make", "-n", "demo"), cwd=REPOSITORY, capture_output=True, text=True, check=True)
        for line in lines.stdout.splitlines():
            if line.startswith(".venv/bin/python") and "evax.report gained" not in line:
                self.run(line.replace(".venv/bin/python", "python"))
        self.write_images()

    def write_images(self) -> None:
        """Some phantoms as files, and forty with a table of labels."""
        pack = Pack(self.folder / "packs" / "demo")
        for name, count in (("images", 4), ("FILMS", 40)):
            (self.folder / name).mkdir()
            for row in range(count):
                cv2.imwrite(str(self.folder / name / f"{row}.png"), pack.image(row))
        lines = [f"{row}.png,patient{row},{row % 2},{row // 2 % 2}" for row in range(40)]
        (self.folder / "FILMS" / "films.csv").write_text("\n".join(["file,pid,Edema,Mass", *lines]) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory, request):
    """The folder of all commands, with the sample where it is there."""
    shared = Path(os.environ.get("EVAX_SHARED", REPOSITORY.parent / "shared" / "data"))
    return Place(tmp_path_factory.mktemp("reader"), shared.resolve() if shared.is_dir() else None)


def needs_sample(text: str) -> bool:
    return bool(re.search(r"sample_|data=cxr14|finetune_cxr14_vit_s/TIME", text))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, marks=pytest.mark.data if needs_sample(text) else ())
        for text in COMMANDS
        if reason(text) is None
    ],
)
def test_a_command_runs_to_its_end(text, place):
    if needs_sample(text) and place.shared is None:
        pytest.skip("no real films: set EVAX_SHARED")
    if text == "make demo":
        place.make_demo()
        return
    for beginning, first in BEFORE.items():
        if text.startswith(beginning):
            place.run(first)
    place.run(text)


def test_no_reason_is_left_over():
    stale = [beginning for beginning in NOT_RUN if not any(text.startswith(beginning) for text in COMMANDS)]
    assert not stale
