import numpy as np
import pytest

from evax.evaluation import knn
from evax.evaluation.knn import Vote, fold_votes, knn_scores, vote_scores

BANK = np.eye(3, 4)
TARGETS = np.array([[1, 0], [0, 1], [0, 0]])


def test_one_neighbor_copies_its_labels():
    queries = np.array([[5.0, 0.1, 0, 0], [0, 0.2, 0.1, 0]])
    np.testing.assert_array_equal(knn_scores(BANK, TARGETS, queries, num_neighbors=1), [[1, 0], [0, 1]])


def test_weights_are_exponential_in_the_cosine():
    weight = np.exp(np.array([0.8, 0.6]) / 0.07)
    found = knn_scores(BANK, TARGETS, np.array([[0.8, 0.6, 0, 0]]), num_neighbors=2)
    np.testing.assert_allclose(found[0], weight / weight.sum(), rtol=1e-4)


def test_length_of_features_does_not_matter():
    generator = np.random.default_rng(0)
    bank, queries = generator.standard_normal((30, 5)), generator.standard_normal((7, 5))
    targets = generator.integers(0, 2, (30, 2))
    np.testing.assert_allclose(
        knn_scores(bank * 100, targets, queries / 3), knn_scores(bank, targets, queries), rtol=1e-4
    )


def test_chunks_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    bank, queries = generator.standard_normal((30, 5)), generator.standard_normal((7, 5))
    targets = generator.integers(0, 2, (30, 2))
    whole = knn_scores(bank, targets, queries)
    monkeypatch.setattr(knn, "CHUNK", 3)
    np.testing.assert_allclose(knn_scores(bank, targets, queries), whole, rtol=1e-4)


def test_unknown_neighbors_have_no_say():
    is_known = np.array([[False, True], [True, True], [True, True]])
    found = knn_scores(BANK, TARGETS, np.array([[0.9, 0.4, 0, 0]]), is_known, num_neighbors=2)
    assert found[0, 0] == 0


def test_query_without_known_neighbor_gets_the_prevalence():
    is_known = np.array([[True, True], [True, True], [False, True]])
    found = knn_scores(BANK, TARGETS, np.array([[0, 0, 1.0, 0]]), is_known, num_neighbors=1)
    assert found[0, 0] == 0.5


def test_class_without_known_label_is_nan():
    is_known = np.array([[False, True]] * 3)
    found = knn_scores(BANK, TARGETS, BANK, is_known, num_neighbors=2)
    assert np.isnan(found).all(axis=0).tolist() == [True, False]


def test_more_neighbors_than_films_is_an_error():
    with pytest.raises(ValueError, match="num_neighbors=20 must lie between 1 and the 3 bank films"):
        knn_scores(BANK, TARGETS, BANK)


def test_votes_share_their_neighbors_and_standardise():
    generator = np.random.default_rng(0)
    bank, queries = generator.standard_normal((30, 5)) * [1, 9, 1, 1, 1] + 3, generator.standard_normal((7, 5))
    targets, known = generator.integers(0, 2, (30, 2)), generator.random((30, 2)) < 0.8
    votes = [Vote(3, 0.1), Vote(50, 0.1), Vote(10, 0.5)]
    standard = [(each - bank.mean(0)) / bank.std(0) for each in (bank, queries)]
    for vote, found in zip(votes, vote_scores(bank, targets, known, queries, votes), strict=True):
        few = min(vote.num_neighbors, 30)
        expected = knn_scores(standard[0], targets, standard[1], known, num_neighbors=few, temperature=vote.temperature)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_folds_vote_as_each_alone():
    generator = np.random.default_rng(0)
    features, rows = generator.standard_normal((30, 5)).astype(np.float32), np.arange(30)
    targets, known = generator.integers(0, 2, (30, 2)), generator.random((30, 2)) < 0.8
    folds = [(rows[rows % 3 != part], rows[rows % 3 == part]) for part in range(3)]
    votes = [Vote(3, 0.1), Vote(50, 0.1)]
    ticks = []
    found = list(fold_votes(features, None, lambda: ticks.append(1))(targets, known, folds, votes))
    assert sorted((setting, fold) for setting, fold, _ in found) == [(s, f) for s in range(2) for f in range(3)]
    assert len(ticks) == 3
    for setting, fold, scores in found:
        fitted, others = folds[fold]
        alone = vote_scores(features[fitted], targets[fitted], known[fitted], features[others], votes)
        np.testing.assert_allclose(scores, list(alone)[setting], rtol=1e-4)
