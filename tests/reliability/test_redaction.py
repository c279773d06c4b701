"""A patient's name is in the pack and nowhere else (R13)."""

import logging
from pathlib import Path

import pytest
from composing import composed
from named_phantoms import SECRET, NamedPhantoms

from evax.commands.train.start import train
from evax.data.prepare import prepare


def test_a_planted_name_stays_in_the_pack(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    caplog.set_level(logging.DEBUG)
    pack, run_dir = tmp_path / "pack", tmp_path / "run"
    report = prepare(NamedPhantoms(num_films=24, size=64), pack, size=64, workers=0, max_quarantine=0.1)
    assert SECRET in (pack / "quarantine.csv").read_text()

    train(composed("experiment=demo_pretrain", "debug=one_step", f"data.pack={pack}", "logger=wandb"), run_dir)

    everywhere = caplog.text + str(report) + "".join(capfd.readouterr())
    assert SECRET not in everywhere
    written = [path for path in run_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)
    assert [path.name for path in written if SECRET.encode() in path.read_bytes()] == []
    assert [path.name for path in run_dir.rglob("*") if SECRET in path.name] == []
