import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evax.report.__main__ import main
from evax.report.curves import Curve, CurvesError, read_metrics, running_mean, settled_range, spread, write_curves

HEADER = "step,epoch,trainer/samples_seen,train/loss,val/cosine,val/cosine_constant,val/feature_rank"


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run_a"
    folder.mkdir()
    rows = [f"{step},0,{step * 8},{1 / (step + 1)},,," for step in range(200)]
    rows += ["0,0,0,,0.2,0.4,", "199,1,1592,,0.7,0.4,"]
    (folder / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def test_empty_cells_are_not_measurements(run_dir):
    curves = read_metrics(run_dir / "metrics.csv")
    assert set(curves) == {"train/loss", "val/cosine", "val/cosine_constant"}
    np.testing.assert_array_equal(curves["val/cosine"].samples, [0, 1592])
    np.testing.assert_array_equal(curves["val/cosine"].values, [0.2, 0.7])


def test_figure_is_written_and_not_blank(run_dir):
    path = write_curves(run_dir)
    assert path == run_dir / "figures" / "curves.png"
    with Image.open(path) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_figure_is_the_same_twice(run_dir):
    assert write_curves(run_dir).read_bytes() == write_curves(run_dir).read_bytes()


def test_panels_without_data_are_skipped(run_dir):
    with Image.open(write_curves(run_dir)) as image:
        wide = image.width
    (run_dir / "metrics.csv").write_text("step,trainer/samples_seen,train/loss\n0,0,1\n1,8,0.5\n")
    with Image.open(write_curves(run_dir)) as image:
        assert image.width < 0.6 * wide


def test_running_mean_keeps_the_level_of_a_dense_curve():
    noisy = Curve(np.arange(1000.0), 3 + (-1.0) ** np.arange(1000))
    smooth = running_mean(noisy)
    np.testing.assert_allclose(smooth.values, 3, atol=0.05)
    assert smooth.samples[0] > 0
    assert smooth.samples[-1] < 999


def test_the_scale_is_that_of_the_settled_loss():
    falling = Curve(np.arange(100.0), np.where(np.arange(100) < 10, 50.0, np.linspace(2, 1, 100)))
    low, high = settled_range([falling])
    assert (low, high) == pytest.approx((1, 2), abs=0.11)
    assert settled_range([Curve(np.zeros(1), np.ones(1))]) == (0.5, 1.5)


@pytest.mark.parametrize(
    ("first", "note"),
    [(50.0, "↑ up to 50, off the scale"), (-50.0, "↓ down to -50, off the scale"), (2.0, None)],
)
def test_values_beyond_the_scale_are_told(run_dir, first, note, monkeypatch):
    rows = [f"{i},{8 * i},{first if i < 3 else 2 - i / 100}" for i in range(100)]
    (run_dir / "metrics.csv").write_text("step,trainer/samples_seen,train/loss\n" + "\n".join(rows) + "\n")
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))
    write_curves(run_dir)
    told = [text.get_text() for text in seen[0].axes[0].texts if "off the scale" in text.get_text()]
    assert told == ([note] if note else [])


def test_an_auroc_says_over_how_many_findings_it_is(run_dir, monkeypatch):
    text = "step,trainer/samples_seen,val/auroc_macro,val/num_findings\n1,8,0.5,6.0\n"
    (run_dir / "metrics.csv").write_text(text)
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))
    write_curves(run_dir)
    assert any("over 6 findings" in text.get_text() for text in seen[0].axes[0].texts)
    (run_dir / "metrics.csv").write_text(text.replace("auroc_macro", "dice").replace("findings", "classes"))
    write_curves(run_dir)
    assert any("over 6 classes" in text.get_text() for text in seen[1].axes[0].texts)


def test_labels_are_moved_apart_only_where_they_overlap():
    np.testing.assert_allclose(spread([0.1, 0.5, 0.52], gap=0.1), [0.1, 0.46, 0.56], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,train/loss\n0,1\n", "needs a column trainer/samples_seen"),
        (HEADER + "\n", "needs a column trainer/samples_seen and at least one row"),
        ("trainer/samples_seen,other\n0,1\n", "holds none of the columns that are drawn"),
        ("trainer/samples_seen,train/loss\n0,many\n", "column train/loss is not numeric"),
    ],
)
def test_unusable_metrics_name_the_file(run_dir, text, message):
    (run_dir / "metrics.csv").write_text(text)
    with pytest.raises(CurvesError, match=rf"metrics\.csv: .*{message}"):
        write_curves(run_dir)


def test_command_ends_a_missing_run_with_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["curves", str(tmp_path)])
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'metrics.csv'}: no such file")
