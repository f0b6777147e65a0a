"""Chapter 13, what training needs: sentences side by side, windows of a text, clipping, AdaGrad."""
import math

import numpy as np
import pytest
from conftest import assert_close
from hypothesis import given
from hypothesis import strategies as st

from primer.ch13_elmo_training import (
    adagrad,
    clip_factor,
    encode_sentence,
    language_vocabulary,
    pad,
    sentence_batches,
    stream_batches,
)

SEQUENCES = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=9).filter(any)


@given(sequences=SEQUENCES)
def test_padded_sequences_come_back(sequences):
    ids, lengths = pad([np.array(s, int) for s in sequences])
    assert ids.shape == (max(map(len, sequences)), len(sequences))
    for i, s in enumerate(sequences):
        assert ids[:lengths[i], i].tolist() == s and not ids[lengths[i]:, i].any()


@given(sequences=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1),
       size=st.integers(1, 4))
def test_batches_hold_each_sequence_once_and_little_padding(sequences, size):
    found, longest = [], 0
    for ids, lengths in sentence_batches([np.array(s, int) for s in sequences], size):
        assert lengths.min() >= longest and len(lengths) <= size
        longest = lengths.max()
        found += [ids[:n, i].tolist() for i, n in enumerate(lengths)]
    assert sorted(found) == sorted(sequences)


@given(n=st.integers(4, 60), size=st.integers(1, 2), steps=st.integers(1, 7))
def test_windows_predict_each_word_once(n, size, steps):
    text = np.arange(n)
    windows = stream_batches(text, size, steps)
    assert all(len(ids) == m[0] <= steps + 1 and (m == m[0]).all() for ids, m in windows)
    length = n // size
    for column in range(size):
        read = np.concatenate([ids[1:, column] for ids, _ in windows])
        assert read.tolist() == list(range(column * length + 1, (column + 1) * length))
    for (one, _), (two, _) in zip(windows, windows[1:], strict=False):
        assert np.array_equal(one[-1], two[0])


def test_sentences_get_marks_and_unknown_words():
    vocabulary = language_vocabulary(["the cat sat", "The cat", "a dog"], 2)
    assert list(vocabulary) == ["<s>", "</s>", "<unk>", "the", "cat"]
    assert encode_sentence("The dog saw the cat.", vocabulary).tolist() == [0, 3, 2, 2, 3, 4, 1]
    assert encode_sentence("", vocabulary).tolist() == [0, 1]


@given(seed=st.integers(0, 999), largest=st.floats(0.01, 100))
def test_clipped_gradients_are_no_longer(seed, largest):
    r = np.random.default_rng(seed)
    grads = {"a": r.standard_normal((2, 3)), "b": 5 * r.standard_normal(4)}
    factor = clip_factor(grads, largest)
    together = np.concatenate([factor * x.ravel() for x in grads.values()])
    length = math.sqrt(sum(float((x ** 2).sum()) for x in grads.values()))
    assert_close(float(np.linalg.norm(together)), min(length, largest))
    assert clip_factor(grads, math.inf) == 1 == clip_factor({"a": np.zeros(3)}, largest)
    assert math.isnan(clip_factor(grads | {"c": np.array([math.nan])}, largest))
    assert math.isnan(clip_factor(grads | {"c": np.array([math.inf])}, largest))


@given(seed=st.integers(0, 999), rate=st.floats(0.01, 1), factor=st.floats(0.1, 1))
def test_a_step_is_the_equation(seed, rate, factor):
    r = np.random.default_rng(seed)
    x, dx, S = r.standard_normal(5), r.standard_normal(5), r.uniform(0.1, 2, 5)
    got, sums = x.copy(), S.copy()
    assert adagrad(got, dx, sums, rate, factor) is None
    for k in range(5):
        s = S[k] + (factor * dx[k]) ** 2
        assert_close(float(sums[k]), float(s))
        assert_close(float(got[k]), float(x[k] - rate * factor * dx[k] / math.sqrt(s)))
    assert np.all(np.abs(got - x) <= rate)                     # no number moves farther


def test_bad_input_is_named():
    x = np.ones(3)
    for arguments, words in (((x, x[:2], x, 0.1), r"dx, S: expected shape \(3,\)"),
                             ((x, x, x[:, None], 0.1), "dx, S: expected shape"),
                             ((np.ones(6)[::2], x, x, 0.1), "x, S: expected arrays in C's"),
                             ((x, x, x, 0), "rate: expected a finite number above 0"),
                             ((x, x, x, math.nan), "rate: expected a finite number above 0")):
        with pytest.raises(ValueError, match=words):
            adagrad(*arguments)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="largest: expected a number above 0"):
            clip_factor({"a": x}, bad)
    for bad in ([], [[]], [np.array([], int)] * 2):
        with pytest.raises(ValueError, match="sequences: expected some words"):
            pad(bad)
    for tokens, size, steps in ((range(3), 2, 5), (range(9), 2, 0), ([], 1, 1)):
        with pytest.raises(ValueError, match="tokens, T: expected"):
            stream_batches(np.array(tokens), size, steps)
    with pytest.raises(ValueError, match="no word occurs 2 times"):
        language_vocabulary(["a b"])
