import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evax.evaluation import logistic, probe
from evax.evaluation.probe import LinearProbe, cross_validate, fit_axes, fold_probes, patient_folds


@pytest.fixture
def table():
    """90 films of 45 patients, 6 features on different scales, 3 findings of which the first is readable."""
    generator = np.random.default_rng(0)
    features = (generator.standard_normal((90, 6)) * 10.0 ** np.arange(6)).astype(np.float32)
    noise = generator.standard_normal((90, 3))
    targets = (np.stack([features[:, 0], noise[:, 1], noise[:, 2]], axis=1) + noise > 0.3).astype(np.int8)
    return features, targets, np.repeat(np.arange(45), 2)


def reference(features, labels, strength):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=10_000))
    return model.fit(features.astype(np.float64), labels).predict_proba(features.astype(np.float64))[:, 1]


def test_scores_equal_scikit_learn(table):
    features, targets, _ = table
    scores = LinearProbe(0.1).fit(features, targets).scores(features)
    expected = np.stack([reference(features, targets[:, c], 0.1) for c in range(3)], axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_more_features_than_films_give_the_same_probe(table):
    _, targets, _ = table
    wide = np.random.default_rng(1).standard_normal((90, 300)).astype(np.float32)
    scores = LinearProbe(0.01).fit(wide, targets).scores(wide)
    np.testing.assert_allclose(scores[:, 0], reference(wide, targets[:, 0], 0.01), atol=1e-3)


def test_constant_feature_is_harmless(table):
    features, targets, _ = table
    padded = np.concatenate([features, np.full((90, 1), 0.1, dtype=np.float32)], axis=1)
    np.testing.assert_allclose(
        LinearProbe(1.0).fit(padded, targets).scores(padded),
        LinearProbe(1.0).fit(features, targets).scores(features),
        atol=1e-5,
    )


@pytest.mark.parametrize("label", [0, 1])
def test_class_with_one_label_has_no_scores(table, label):
    features, targets, _ = table
    targets[:, 1] = label
    scores = LinearProbe(1.0).fit(features, targets).scores(features)
    assert np.isnan(scores).all(axis=0).tolist() == [False, True, False]


def test_unknown_labels_do_not_train(table):
    features, targets, _ = table
    is_known = np.ones(targets.shape, dtype=bool)
    is_known[:40, 0] = False
    flipped = targets.copy()
    flipped[:40, 0] = 1 - flipped[:40, 0]
    np.testing.assert_array_equal(
        LinearProbe(1.0).fit(features, targets, is_known).scores(features),
        LinearProbe(1.0).fit(features, flipped, is_known).scores(features),
    )


def test_folds_split_patients_and_cover_every_film(table):
    *_, patients = table
    folds = list(patient_folds(patients, 5, seed=0))
    assert all(not set(patients[fitted]) & set(patients[held]) for fitted, held in folds)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(90))


def test_folds_follow_the_seed_and_the_repeat(table):
    *_, patients = table
    held = [
        next(iter(patient_folds(patients, 5, seed, repeat)))[1].tolist()
        for seed, repeat in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert held[0] == held[1]
    assert held[0] != held[2]
    assert held[0] != held[3]


def test_cross_validation_tells_signal_from_noise(table):
    features, targets, patients = table
    assert cross_validate(features, targets[:, :1], patients, (0.1,))[0.1] > 0.75
    assert abs(cross_validate(features, targets[:, 1:2], patients, (0.1,), num_repeats=3)[0.1] - 0.5) < 0.2


def test_folds_together_score_as_each_alone(table):
    """Also where labels are unknown, a class has one label in a fold, and a feature is constant in a fold."""
    features, targets, patients = table
    folds = list(patient_folds(patients, 5, seed=0))
    is_known = np.random.default_rng(1).random(targets.shape) < 0.8
    targets[folds[1][0], 2] = 0
    features[folds[2][0], 3] = 7.0
    grid = (1e-3, 0.1, 1.0)
    seen = np.zeros((3, 5), int)
    for setting, fold, scores in fold_probes(features)(targets, is_known, folds, grid):
        fitted, rows = folds[fold]
        alone = LinearProbe(grid[setting]).fit(features[fitted], targets[fitted], is_known[fitted])
        np.testing.assert_allclose(scores, alone.scores(features[rows]), atol=1e-3)
        assert np.isnan(scores[:, 2]).all() == (fold == 1)
        seen[setting, fold] += 1
    assert (seen == 1).all()


def test_probe_that_does_not_converge_is_named(table, monkeypatch, caplog):
    features, targets, patients = table
    monkeypatch.setattr(logistic, "ROUNDS", 0)
    names = ("Mass", "Edema", "Hernia")
    LinearProbe(1.0).fit(features, targets, names=names)
    cross_validate(features, targets[:, 1:], patients, (10.0,), names=names[1:])
    assert caplog.messages == [
        "the linear probe with C=1 did not converge for Mass, Edema, Hernia; use a smaller C (strengths)",
        "the linear probe with C=10 did not converge for Edema, Hernia; use a smaller C (strengths)",
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(table, value):
    features, targets, _ = table
    features[3, 2] = value
    with pytest.raises(ValueError, match="1 of 6 features are not finite; check the weights"):
        LinearProbe(1.0).fit(features, targets)


def test_targets_between_0_and_1_are_refused(table):
    features, targets, _ = table
    with pytest.raises(ValueError, match="known targets must be 0 or 1"):
        LinearProbe(1.0).fit(features, targets * 0.5)


def test_axes_of_some_rows_in_blocks(table, monkeypatch):
    features, *_ = table
    rows = np.arange(5, 60)
    whole = fit_axes(features[rows])
    monkeypatch.setattr(probe, "BLOCK", 60)
    assert len(probe.blocks(rows, 6)) == 6
    axes = fit_axes(features, rows)
    np.testing.assert_allclose(axes.mean, features[rows].mean(0, dtype=np.float64))
    np.testing.assert_allclose(axes.scale, features[rows].std(0, dtype=np.float64))
    np.testing.assert_allclose(axes.project(features, rows), whole.project(features[rows]), atol=1e-6)


def test_offsets_of_folds_do_not_enter():
    """Useless features under a strong penalty score 0.5; pooling the folds would score far below."""
    generator = np.random.default_rng(0)
    targets = (generator.random((120, 1)) < 0.15).astype(np.int8)
    features = np.zeros((120, 2), dtype=np.float32)
    assert cross_validate(features, targets, np.arange(120), (1e-3,)) == {1e-3: 0.5}


def test_class_without_positives_leaves_the_mean(table):
    features, targets, patients = table
    empty = np.concatenate([targets[:, :1], np.zeros((90, 1), dtype=np.int8)], axis=1)
    assert cross_validate(features, empty, patients, (0.1,)) == cross_validate(
        features, targets[:, :1], patients, (0.1,)
    )


def test_nothing_to_score_is_an_error(table):
    features, targets, patients = table
    with pytest.raises(ValueError, match="no class has positives and negatives"):
        cross_validate(features, np.zeros_like(targets), patients, (0.1,))


def test_more_folds_than_patients_is_an_error(table):
    *_, patients = table
    with pytest.raises(ValueError, match="num_folds=46 exceeds the 45 patients"):
        patient_folds(patients, 46, seed=0)
