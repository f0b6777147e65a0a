"""Chapter 12: fastText: n-grams, hashes, unseen words, training, the classifier, real models."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, assert_gradient, emulated, every_backend, every_twin
from hypothesis import given
from hypothesis import strategies as st

from kernels import twin
from primer import ch06_word2vec, ch08_negative_sampling, claims, data, formats
from primer import ch12_fasttext as chapter
from primer.ch07_hierarchical_softmax import huffman_tree
from primer.ch12_fasttext import (
    classifier_loss_grad,
    classify,
    classify_hierarchical,
    fnv1a,
    initial_vectors,
    mean_rows_backward,
    ngram_buckets,
    ngrams,
    place_loss,
    train_classifier,
    train_vectors,
    word_ngram_buckets,
    word_vector,
)
from primer.exercises.ch12_fasttext import TOLD_WORDS, WORDS, drawn_block, drawn_texts

every_rows = every_backend("ch12_fasttext", "text_rows", "subword_rows", "mean_rows")
every_block = every_backend("ch12_fasttext", "skipgram_block", "classifier_block")
every_twin_rows = every_twin("ch12_fasttext", "text_rows", "mean_rows")
every_twin_block = every_twin("ch12_fasttext", "skipgram_block", "classifier_block")
BLOCKS = ("skipgram_block", "cbow_block")
SEEDS = st.integers(0, 999)


@pytest.fixture(autouse=True)
def one_after_another(request, monkeypatch):
    """One thread, or one warp: the steps are the reference's, in its order."""
    backend = request.node.callspec.params.get("backend") if hasattr(request.node,
                                                                     "callspec") else None
    if emulated(backend):
        monkeypatch.setattr(backend.module, "WARPS", 1)
    else:
        import numba
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        yield
        numba.set_num_threads(before)
        return
    yield


def dtype_of(backend):
    return np.float32 if emulated(backend) else np.float64


def tolerance(dtype):
    return {"rtol": 2e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}


# 1. The equation.

def spec_ngrams(word, minn, maxn):
    """All runs of letters by their bounds."""
    text = "<" + word + ">"
    found = []
    for i in range(len(text)):
        for j in range(i + 1, len(text) + 1):
            if minn <= j - i <= maxn and text[i:j] not in ("<", ">") or (
                    minn <= j - i <= maxn and 0 < i and j < len(text)):
                found.append(text[i:j])
    return found


def spec_fnv1a(text):
    number = 2166136261
    for byte in text.encode():
        number ^= byte if byte < 128 else byte - 256 + 2**32
        number = number * 16777619 % 2**32
    return number


@given(word=WORDS, minn=st.integers(0, 4), maxn=st.integers(0, 6))
def test_ngrams_are_the_equation(word, minn, maxn):
    assert ngrams(word, minn, maxn) == spec_ngrams(word, minn, maxn)
    assert all(fnv1a(g) == spec_fnv1a(g) for g in ngrams(word, minn, maxn))
    want = [] if word == "</s>" else [spec_fnv1a(g) % 1000 for g in spec_ngrams(word, minn, maxn)]
    assert ngram_buckets(word, minn, maxn, 1000) == want


def spec_rows(words, vocabulary, minn, maxn, bucket, n):
    V, rows, hashes = len(vocabulary), [], []
    for w in words:
        if w in vocabulary:
            rows.append(vocabulary[w])
        signed = spec_fnv1a(w)
        hashes.append(signed - 2**32 if signed >= 2**31 else signed)
    for w in words:
        if w != "</s>":
            rows += [V + spec_fnv1a(g) % bucket for g in spec_ngrams(w, minn, maxn)]
    for i in range(len(words)):
        mixed = hashes[i]
        for j in range(i + 1, min(i + n, len(words))):
            mixed = (mixed * 116049371 + hashes[j]) % 2**64
            rows.append(V + mixed % bucket)
    return rows


@every_rows
@given(texts=st.lists(st.lists(WORDS, max_size=6), min_size=1, max_size=4), minn=st.integers(0, 3),
       maxn=st.integers(0, 5), bucket=st.integers(1, 99), n=st.integers(1, 4))
def test_rows_are_the_equation(backend, texts, minn, maxn, bucket, n):
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys(w for t in texts[:2] for w in t))}
    indptr, rows = backend.text_rows(texts, vocabulary, minn, maxn, bucket, n)
    want = [spec_rows(t, vocabulary, minn, maxn, bucket, n) for t in texts]
    assert indptr.tolist() == [0, *np.cumsum([len(r) for r in want]).tolist()]
    assert rows.tolist() == sum(want, []) and (indptr.dtype, rows.dtype) == (np.int64, np.int32)


def spec_place(hs, U, o, noise, rate):
    """Vectors hs predict o, by loops -> moves of hs, loss; U moves by what was old."""
    moves, steps, loss = [[0.0] * len(h) for h in hs], [], 0.0
    for h, move in zip(hs, moves, strict=True):
        for word, right in [(o, 1)] + [(k, 0) for k in noise if k != o]:
            p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(U[word], h, strict=True))))
            loss -= math.log(p if right else 1 - p)
            for k, x in enumerate(U[word]):
                move[k] -= rate * (p - right) * x
            steps.append((word, [rate * (p - right) * x for x in h]))
    for word, step in steps:
        U[word] = [u - x for u, x in zip(U[word], step, strict=True)]
    return moves, loss


def spec_block(cbow, Z, U, tokens, starts, windows, rates, negatives, indptr, rows):
    """Place after place, over plain lists of numbers -> Z, U, loss, predictions."""
    Z, U, loss, predictions = Z.tolist(), U.tolist(), 0.0, 0
    own = [rows[a:b].tolist() for a, b in zip(indptr, indptr[1:], strict=False)]
    reach, v, taken = max(windows, default=0), {}, {}

    def mean(group):
        return [sum(Z[r][k] for r in group) / len(group) for k in range(len(Z[0]))]

    def move(group, by):
        for r in group:
            Z[r] = [z + x for z, x in zip(Z[r], by, strict=True)]

    for first, stop in zip(starts, starts[1:], strict=False):
        for t in range(first - reach, stop + reach):
            if first <= t + reach < stop:
                v[t + reach] = taken[t + reach] = mean(own[tokens[t + reach]])
            near = [j for j in range(first, stop) if 0 < abs(j - t) <= windows[t % len(windows)]]
            if first <= t < stop and near:
                group = [r for j in near for r in own[tokens[j]]]
                moves, more = spec_place([mean(group)] if cbow else [v[j] for j in near], U,
                                         tokens[t], negatives[t], rates[t])
                loss, predictions = loss + more, predictions + len(moves)
                if cbow:
                    move(group, moves[0])
                else:
                    v |= {j: [x + y for x, y in zip(v[j], by, strict=True)]
                          for j, by in zip(near, moves, strict=True)}
            if first <= t - reach < stop and not cbow:
                move(own[tokens[t - reach]], [x - y for x, y in zip(v[t - reach], taken[t - reach],
                                                                    strict=True)])
    return np.array(Z), np.array(U), loss, predictions


@every_block
@pytest.mark.parametrize("name", BLOCKS)
@given(seed=SEEDS)
def test_blocks_are_the_equation(backend, name, seed):
    Z, U, *more, ngram_rows = drawn_block(seed, dtype_of(backend))
    want = spec_block(name == "cbow_block", Z, U, *more, *ngram_rows)
    loss, predictions = getattr(backend, name)(Z, U, *more, ngram_rows)
    near = tolerance(Z.dtype)
    assert_close(Z, want[0].astype(Z.dtype), **near)
    assert_close(U, want[1].astype(Z.dtype), **near)
    assert_close(loss, want[2], **near)
    assert predictions == want[3] and isinstance(loss, float) and isinstance(predictions, int)


def spec_classifier(Z, A, indptr, rows, labels, order, rates):
    Z, A, total = Z.astype(float), A.astype(float), 0.0
    for i, rate in zip(order, rates, strict=True):
        own = rows[indptr[i]:indptr[i + 1]]
        x = sum(Z[r] for r in own) / len(own)
        e = [math.exp(sum(a * b for a, b in zip(row, x, strict=True))) for row in A]
        total -= math.log(e[labels[i]] / sum(e))
        slope = [y / sum(e) - (j == labels[i]) for j, y in enumerate(e)]
        dx = sum(s * row for s, row in zip(slope, A, strict=True))
        A = A - rate * np.outer(slope, x)
        for r in own:
            Z[r] = Z[r] - rate / len(own) * dx
    return Z, A, total


@every_block
@given(seed=SEEDS)
def test_the_classifier_is_the_equation(backend, seed):
    Z, A, *more = drawn_texts(seed, dtype=dtype_of(backend))
    want = spec_classifier(Z, A, *more)
    loss, n = backend.classifier_block(Z, A, *more)
    near = tolerance(Z.dtype)
    assert_close(Z, want[0].astype(Z.dtype), **near)
    assert_close(A, want[1].astype(Z.dtype), **near)
    assert_close(loss, want[2], **near)
    assert n == len(more[3])


# 2. The text's worked examples.

def test_the_ngrams_of_fast():                                               # line 1354
    assert ngrams("fast") == ["<fa", "<fas", "<fast", "<fast>", "fas", "fast", "fast>", "ast",
                              "ast>", "st>"]
    inside = [g for g in ngrams("fast") if "<" not in g and ">" not in g]
    assert inside == ["fas", "fast", "ast"]


def test_the_ngrams_of_breathtakingly():                                     # line 1365 errs
    grams = ngrams("breathtakingly")
    assert len(grams) == 50 == sum(14 + 2 - n + 1 for n in range(3, 7))
    assert len([g for g in grams if "<" not in g and ">" not in g]) == 42
    assert [g in grams for g in ("breat", "eathtaking", "htakingly")] == [True, False, False]
    assert [g in ngrams("breathtakingly", 3, 10) for g in TOLD_WORDS] == [True] * 3


def test_sum_and_mean_have_one_direction():                                  # line 1560
    Z, vocabulary = initial_vectors(3, 50, 6, np.random.default_rng(0))[0], {"a": 0, "b": 1, "c": 2}
    rows = chapter.text_rows([["bank"]], vocabulary, 3, 6, 50)[1]
    total, mean = Z[rows].sum(axis=0), word_vector(Z, "bank", vocabulary)
    assert_close(mean * len(rows), total, rtol=1e-5)
    assert len(rows) == 10


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(12)]
    assert {n for n, v in rows if v == "wrong"} == {1349, 1365}
    assert [1354, 1354, 1356] == sorted(n for n, v in rows if v == "right" and n < 1360)


# 3. Properties.

@given(word=WORDS, minn=st.integers(1, 4), maxn=st.integers(0, 6))
def test_the_number_of_ngrams(word, minn, maxn):
    length = len(word) + 2
    want = sum(max(length - n + 1, 0) - 2 * (n == 1) for n in range(minn, maxn + 1))
    assert len(ngrams(word, minn, maxn)) == want


def test_the_hash_is_fnv1a_and_bytes_are_signed():
    assert fnv1a("") == 0x811C9DC5 and fnv1a("a") == 0xE40C292C and fnv1a("foobar") == 0xBF9CF968
    unsigned = 2166136261
    for byte in "ü".encode():
        unsigned = (unsigned ^ byte) * 16777619 % 2**32
    assert fnv1a("ü") != unsigned


def test_a_letter_is_a_code_point():
    assert ngrams("日本", 3, 3) == ["<日本", "日本>"]
    assert ngrams("e\u0301", 1, 1) == ["e", "\u0301"]          # a letter and its accent are two


@every_rows
@given(seed=SEEDS)
def test_a_known_word_without_its_own_row_is_as_an_unknown_one(backend, seed):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((2 + 40, 5))
    known, unknown = {"tariffs": 0, "bank": 1}, {"dog": 0, "bank": 1}
    k = len(ngrams("tariffs"))
    own, without = (backend.mean_rows(Z, *backend.text_rows([["tariffs"]], v, 3, 6, 40))[0]
                    for v in (known, unknown))
    assert_close(own * (k + 1) - Z[0], without * k)
    assert_close(word_vector(Z, "tariffs", known), own)
    assert_close(word_vector(Z, "tariffs", unknown), without)


@every_rows
@given(seed=SEEDS, factor=st.floats(-3, 3))
def test_means_are_linear_in_the_table(backend, seed, factor):
    rng = np.random.default_rng(seed)
    Z, Y = rng.standard_normal((2, 9, 3))
    indptr, rows = np.array([0, 2, 2, 7]), rng.integers(0, 9, 7)
    mean = backend.mean_rows
    assert_close(mean(Z + factor * Y, indptr, rows),
                 mean(Z, indptr, rows) + factor * mean(Y, indptr, rows), atol=1e-9)
    assert not mean(Z, indptr, rows)[1].any()                  # no row: zeros


@every_rows
def test_the_table_need_not_be_float64(backend):
    Z = np.arange(12, dtype=np.float32).reshape(4, 3)
    got = backend.mean_rows(Z, [0, 3], np.array([0, 1, 1]))
    assert got.dtype == np.float32
    assert_close(got, np.array([[2, 3, 4]], np.float32), rtol=1e-6)


@every_block
@given(seed=SEEDS)
def test_without_ngrams_cbow_is_chapter_8(backend, seed):
    Z, U, tokens, starts, windows, rates, negatives, _ = drawn_block(seed, dtype_of(backend))
    Z, U = Z[:len(U)].copy(), U.copy()
    W, O = Z.copy(), U.copy()
    alone = np.arange(len(U) + 1), np.arange(len(U))
    got = backend.cbow_block(Z, U, tokens, starts, windows, rates, negatives, alone)
    want = ch08_negative_sampling.cbow_block(W, O, tokens, starts, windows, rates, negatives)
    near = tolerance(Z.dtype)
    assert_close(got[0], want[0], **near)
    assert_close(Z, W, **near)
    assert_close(U, O, **near)


@every_block
@given(seed=SEEDS)
def test_with_a_label_for_each_row_it_is_cbow_of_chapter_6(backend, seed):
    Z, A, indptr, rows, labels, _, rates = drawn_texts(seed, labels=12, dtype=dtype_of(backend))
    order = np.arange(len(labels))
    want = ch06_word2vec.cbow_epoch(Z, A, labels, indptr, rows, rates)
    loss, _ = backend.classifier_block(Z, A, indptr, rows, labels, order, rates)
    near = tolerance(Z.dtype)
    assert_close(Z, want[0], **near)
    assert_close(A, want[1], **near)
    assert_close(loss, want[2].sum(), **near)


@every_block
def test_two_labels_need_no_tree(backend):
    """With two labels a tree is one node: sigma of a difference is a softmax of two."""
    Z, A, indptr, rows, labels, order, rates = drawn_texts(3, labels=2, dtype=dtype_of(backend))
    tree = huffman_tree(np.array([2, 1]))
    node = A[:1] - A[1:]
    flip = tree.codes[0]                                       # label 0 on the left or the right
    P = classify(Z, A, indptr, rows)
    Q = classify_hierarchical(Z, -node if flip else node, indptr, rows, tree)
    assert_close(P, Q, **tolerance(Z.dtype))
    A2, N, Z2 = A.copy(), (-node if flip else node).copy(), Z.copy()
    one = backend.classifier_block(Z, A2, indptr, rows, labels, order[:1], rates[:1])
    two = backend.hierarchical_block(Z2, N, indptr, rows, labels, order[:1], rates[:1], tree)
    assert_close(one[0], two[0], **tolerance(Z.dtype))
    assert_close(Z, Z2, **tolerance(Z.dtype))                  # dL/dx is the same, A's step is not


@given(seed=SEEDS)
def test_probabilities_add_up(seed):
    Z, A, indptr, rows, labels, *_ = drawn_texts(seed, labels=5)
    tree = huffman_tree(np.array([9, 5, 3, 2, 1]))
    for P in (classify(Z, A, indptr, rows),
              classify_hierarchical(Z, A[:4], indptr, rows, tree)):
        assert P.shape == (len(labels), 5)
        assert_close(P.sum(axis=1), np.ones(len(labels)))


@every_block
def test_noise_that_is_the_target_is_left_out(backend):
    dtype = dtype_of(backend)
    Z, U = np.ones((2, 2), dtype), np.array([[0.5, 1], [2, -1]], dtype)
    ngram_rows = np.arange(3), np.arange(2)
    arguments = (Z, U, [0, 1], [0, 2], [1, 1], np.zeros(2), [[0, 0], [1, 1]], ngram_rows)
    loss, pairs = backend.skipgram_block(*arguments)           # all noise is the word itself
    want = sum(math.log(1 + math.exp(-s)) for s in (U[1].sum(), U[0].sum()))
    assert pairs == 2
    assert_close(loss, want, rtol=1e-6)


@every_block
@given(seed=SEEDS)
def test_rows_that_wait_move_as_fasttexts_do(backend, seed):
    """fastText gathers and moves rows for each pair: the same, if none comes twice in a window."""
    dtype, rng = dtype_of(backend), np.random.default_rng(seed)
    Z, U, _, starts, windows, rates, negatives, _ = drawn_block(seed, dtype, V=9, bucket=9)
    tokens, ngram_rows = rng.permutation(9), (np.arange(10) * 2, rng.permutation(18))
    want_Z, want_U = Z.astype(float), U.astype(float)
    for first, stop in zip(starts, starts[1:], strict=False):
        for t in range(first, stop):
            near = [j for j in range(first, stop) if 0 < abs(j - t) <= windows[t]]
            own = [ngram_rows[1][2 * tokens[j]:2 * tokens[j] + 2] for j in near]
            words = np.append(tokens[t], negatives[t])
            H = np.array([want_Z[r].mean(axis=0) for r in own]).reshape(-1, Z.shape[1])
            _, dH, dU = place_loss(H, want_U, words)
            np.subtract.at(want_U, words, rates[t] * dU)
            for r, dh in zip(own, dH, strict=True):
                want_Z[r] -= rates[t] * dh
    backend.skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngram_rows)
    assert_close(Z, want_Z.astype(dtype), **tolerance(dtype))
    assert_close(U, want_U.astype(dtype), **tolerance(dtype))


@every_block
@given(seed=SEEDS)
def test_without_ngrams_skipgram_is_chapter_8(backend, seed):
    """If no word comes twice: chapter 8's rows move at once."""
    dtype = dtype_of(backend)
    Z, U, _, starts, windows, rates, negatives, _ = drawn_block(seed, dtype, V=9, bucket=0)
    tokens, (W, O) = np.random.default_rng(seed).permutation(9), (Z.copy(), U.copy())
    got = backend.skipgram_block(Z, U, tokens, starts, windows, rates, negatives,
                                 (np.arange(10), np.arange(9)))
    want = ch08_negative_sampling.skipgram_block(W, O, tokens, starts, windows, rates, negatives)
    assert_close(np.array(got), np.array(want), **tolerance(dtype))
    assert_close(Z, W, **tolerance(dtype))
    assert_close(U, O, **tolerance(dtype))


# 4. Gradients.

@given(seed=SEEDS)
def test_gradient_of_a_place(seed):
    rng = np.random.default_rng(seed)
    H, U, words = rng.standard_normal((3, 4)), rng.standard_normal((6, 4)), rng.integers(0, 6, 5)
    _, dH, dwords = place_loss(H, U, words)
    dU = np.zeros_like(U)
    np.add.at(dU, words, dwords)
    assert_gradient(lambda H: place_loss(H, U, words)[0], dH, H, seed)
    assert_gradient(lambda U: place_loss(H, U, words)[0], dU, U, seed)


@given(seed=SEEDS)
def test_gradient_of_means(seed):
    rng = np.random.default_rng(seed)
    Z, G = rng.standard_normal((7, 3)), rng.standard_normal((4, 3))
    indptr, rows = np.array([0, 3, 3, 4, 9]), rng.integers(0, 7, 9)
    assert_gradient(lambda Z: (G * chapter.mean_rows(Z, indptr, rows)).sum(),
                    mean_rows_backward(G, indptr, rows, 7), Z, seed)


@given(seed=SEEDS, g=st.sampled_from([1.0, -1.7]))
def test_gradient_of_the_classifier(seed, g):
    Z, A, *texts = drawn_texts(seed)[:5]
    _, dZ, dA = classifier_loss_grad(Z, A, *texts, g=g)
    assert_gradient(lambda Z: g * classifier_loss_grad(Z, A, *texts)[0], dZ, Z, seed)
    assert_gradient(lambda A: g * classifier_loss_grad(Z, A, *texts)[0], dA, A, seed)


@given(seed=SEEDS)
def test_a_word_step_is_as_many_slopes_as_there_are_rows(seed):
    """fastText moves each row by all of dL/dh: |R| times the slope (12.5)."""
    rng = np.random.default_rng(seed)
    Z, U = rng.standard_normal((9, 3)), rng.standard_normal((2, 3))
    rows = np.array([0, 2, 5, 5, 1])
    h, moved = Z[rows[:4]].mean(axis=0), Z.copy()
    dh = place_loss(h[None], U, np.array([1, 0]))[1]
    ngram_rows = np.array([0, 4, 5]), rows
    chapter.skipgram_block(moved, U, [0, 1], [0, 2], [1, 1], [0.0, 0.1], [[0], [0]], ngram_rows)
    slope = mean_rows_backward(dh, np.array([0, 4]), rows[:4], 9)
    assert_close(Z - moved, 0.1 * 4 * slope, atol=1e-12)


# 5. Parity with fastText; what it computes stands in tests/parity/ch12_fasttext.py.

PARITY = dict(np.load(Path(__file__).parent / "parity/ch12_fasttext.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("models"), {}
    for key in PARITY:
        if key.startswith("file/"):
            path = folder / f"{key[5:]}.bin"
            path.write_bytes(PARITY[key].tobytes())
            found[key[5:]] = formats.read_fasttext(path)
    return found


@pytest.mark.parametrize("word", PARITY["words"].tolist())
def test_ngrams_and_rows_equal_fasttext(models, word):
    model = models["skipgram"]
    known, grams = word in model.words, PARITY[f"grams/{word}"].tolist()
    assert ngrams(word) == grams[known:]
    vocabulary = {w: i for i, w in enumerate(model.words)}
    rows = chapter.text_rows([[word]], vocabulary, 3, 6, 300)[1]
    assert rows.tolist() == PARITY[f"rows/{word}"].tolist() == model.subword_rows(word)


def test_vectors_of_unseen_words_equal_fasttext(models):
    model, words = models["skipgram"], PARITY["words"].tolist()
    vocabulary = {w: i for i, w in enumerate(model.words)}
    some = [w for w in words if len(w) > 1]
    got = np.array([word_vector(model.inputs, w, vocabulary) for w in some])
    assert_close(got, PARITY["vectors"][[words.index(w) for w in some]], rtol=1e-6, atol=1e-8)
    assert [w for w in words if w in vocabulary] == ["government", "governments"]


@every_rows
@pytest.mark.parametrize("name, n", [("softmax", 2), ("quantised", 2), ("hierarchical", 1)])
def test_real_classifiers_predict_as_fasttext_does(backend, models, name, n):
    model = models[name]
    vocabulary = {w: i for i, w in enumerate(model.words)}
    lines = [[*line.split(), "</s>"] for line in PARITY["lines"].tolist()]
    items = backend.text_rows(lines, vocabulary, 0, 0, 300, n)
    if name == "hierarchical":
        tree = huffman_tree(model.label_counts)
        got = classify_hierarchical(model.inputs, -model.outputs[:-1], *items, tree)
    else:
        got = classify(model.inputs, model.outputs, *items)
    assert_close(got, PARITY[f"predicted/{name}"].astype(got.dtype), rtol=2e-3, atol=2e-4)


def test_a_model_of_ours_comes_back_from_its_file(tmp_path):
    words = ["war", "peace", "naïve"]
    Z, U = initial_vectors(3, 60, 4, np.random.default_rng(0))
    about = formats.fasttext.ARGUMENTS | {"dim": 4, "bucket": 60}
    model = formats.FastText(about, words, np.array([3, 2, 1]), Z, U, tokens=6)
    formats.write_vectors(tmp_path / "ours.bin", model)
    again = formats.read_fasttext(tmp_path / "ours.bin")
    vocabulary = {w: i for i, w in enumerate(words)}
    for word in ("war", "peaceful", "naïveté"):
        assert_close(again.word_vector(word), word_vector(Z, word, vocabulary), rtol=1e-6)


# 6. Twins.

@every_twin_rows
def test_twin_lists_the_same_rows(backend):
    texts = [t.split() for t in data.sotu_paragraphs()[0][:40]] + [[], ["</s>"], ["日本", "é"]]
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys(w for t in texts[:9] for w in t))}
    for arguments in ((0, 0, 0, 1), (3, 6, 2_000_000, 1), (1, 3, 7, 5), (0, 0, 10**6, 3)):
        got = backend.text_rows(texts, vocabulary, *arguments)
        for a, b in zip(got, chapter.text_rows(texts, vocabulary, *arguments), strict=True):
            assert np.array_equal(a, b) and a.dtype == b.dtype
    for a, b in zip(backend.subword_rows([*vocabulary, "</s>"], 2, 4, 99),
                    chapter.subword_rows([*vocabulary, "</s>"], 2, 4, 99), strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype
    assert [x.tolist() for x in backend.text_rows([], {})] == [[0], []]


@every_twin_rows
@pytest.mark.parametrize("size", EDGE_SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twin_takes_the_same_means(backend, size, dtype):
    rng = np.random.default_rng(size)
    for n, d in ((size, 3), (5, max(size, 1))):
        Z = rng.standard_normal((11, d)).astype(dtype)
        indptr = np.append(0, np.cumsum(rng.integers(0, 9, n)))
        rows = rng.integers(0, 11, indptr[-1])
        assert_close(backend.mean_rows(Z, indptr, rows), chapter.mean_rows(Z, indptr, rows),
                     **tolerance(dtype))


@every_twin_block
@pytest.mark.parametrize("size", EDGE_SIZES)
def test_twin_makes_the_same_steps(backend, size):
    """The size is that of d, then of the corpus, or the number of texts."""
    if emulated(backend) and (backend.order.get("seed") or size in (31, 127)):
        size = min(size, 33)                                   # thousands of times slower
    for dtype in (np.float32,) if emulated(backend) else (np.float32, np.float64):
        for d, T in ((max(size, 1), 12), (3, size)):
            for name in BLOCKS:
                Z, U, *more = drawn_block(size, dtype, d=d, T=T)
                own, other = Z.copy(), U.copy()
                got = getattr(backend, name)(own, other, *more)
                want = getattr(chapter, name)(Z, U, *more)
                assert_close(np.array(got), np.array(want), **tolerance(np.float32))
                assert_close(own, Z, **tolerance(dtype))
                assert_close(other, U, **tolerance(dtype))
            Z, A, *more = drawn_texts(size, n=T, d=d, dtype=dtype)
            tree = huffman_tree(np.arange(1, len(A) + 1))
            for name, outputs, last in (("classifier_block", A, ()),
                                        ("hierarchical_block", A[1:], (tree,))):
                (own, other), (Z1, A1) = ((Z.copy(), outputs.copy()) for _ in range(2))
                got = getattr(backend, name)(own, other, *more, *last)
                want = getattr(chapter, name)(Z1, A1, *more, *last)
                assert_close(np.array(got), np.array(want), **tolerance(np.float32))
                assert_close(own, Z1, **tolerance(dtype))
                assert_close(other, A1, **tolerance(dtype))


@every_twin_block
def test_many_at_once_lose_no_step(backend, monkeypatch):
    """With small rates the order of steps changes little: far less than a step that is lost."""
    if emulated(backend):
        monkeypatch.setattr(backend.module, "WARPS", 64)
    for name in BLOCKS:
        Z, U, tokens, starts, windows, rates, *more = drawn_block(7, np.float32, T=40)
        own, other, before = Z.copy(), U.copy(), Z.copy()
        got = getattr(backend, name)(own, other, tokens, starts, windows, rates / 3000, *more)
        want = getattr(chapter, name)(Z, U, tokens, starts, windows, rates / 3000, *more)
        assert_close(np.array(got), np.array(want), rtol=1e-2)
        assert np.abs(Z - before).max() > 1e-4
        assert_close(own, Z, atol=1e-5)


@every_twin_block
def test_scores_that_exp_cannot_take(backend):
    Z, U, tokens, starts, windows, rates, negatives, rows = drawn_block(1, np.float32)
    Z[:], U[:] = 100, 100
    U[::2] = -100
    loss, _ = backend.skipgram_block(Z, U, tokens, starts, windows, 0 * rates, negatives, rows)
    want, _ = chapter.skipgram_block(Z, U, tokens, starts, windows, 0 * rates, negatives, rows)
    assert_close(loss, want, rtol=1e-5)
    assert np.isfinite(Z).all()


# Training.

MORPHOLOGY = [f"{stem}{end}" for stem in ("walk", "talk", "jump", "paint") for end in
              ("", "s", "ed", "ing")]


@pytest.fixture(scope="module")
def toy():
    """Sentences of a stem, its company, and an ending's company -> words, tokens, starts."""
    rng = np.random.default_rng(0)
    company = {"walk": "street path", "talk": "voice word", "jump": "fence rope",
               "paint": "colour brush"}
    lines = []
    for _ in range(1200):
        word = MORPHOLOGY[rng.integers(16)]
        stem = next(s for s in company if word.startswith(s))
        lines.append(rng.permutation([word, *company[stem].split()]).tolist())
    held = {"talking", "jumped"}
    lines = [line for line in lines if not held & set(line)]
    words = list(dict.fromkeys(w for line in lines for w in line))
    ids = {w: i for i, w in enumerate(words)}
    return words, np.array([ids[w] for line in lines for w in line]), np.arange(len(lines) + 1) * 3


def trained(toy, backend, name="skipgram_block", seed=1, epochs=4, **more):
    words, tokens, starts = toy
    ngram_rows = chapter.subword_rows(words, bucket=500)
    Z, U = initial_vectors(len(words), 500, 12, np.random.default_rng(seed))
    history = train_vectors(getattr(backend or chapter, name), tokens, starts, Z, U, ngram_rows,
                            2, 4, epochs, seed, sample=1.0, **{"rate": 0.1, "size": 500} | more)
    return Z, U, history


@pytest.mark.parametrize("backend", [None, twin("ch12_fasttext", "numba")])
@pytest.mark.parametrize("name", BLOCKS)
def test_unseen_words_come_near_their_kin(backend, toy, name):
    Z, U, history = trained(toy, backend, name)
    words = toy[0]
    vocabulary = {w: i for i, w in enumerate(words)}
    assert history[-1] < history[0] and np.isfinite(Z).all() and np.isfinite(U).all()
    verbs = [w for w in words if w in MORPHOLOGY]
    X = np.array([word_vector(Z, w, vocabulary) for w in verbs])
    for word, stem in (("talking", "talk"), ("jumped", "jump")):
        x = word_vector(Z, word, vocabulary)
        cosines = X @ x / np.linalg.norm(X, axis=1) / np.linalg.norm(x)
        assert word not in vocabulary and verbs[cosines.argmax()].startswith(stem)


def test_training_repeats_itself_and_twins_follow(toy):
    fast = twin("ch12_fasttext", "numba")
    one, two, ref = trained(toy, fast), trained(toy, fast), trained(toy, None)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], trained(toy, fast, seed=2)[0])
    for a, b in zip(one, ref, strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_a_corpus_may_be_a_memory_map(toy, tmp_path):
    words, tokens, starts = toy
    tokens.astype(np.int32).tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", np.int32, "r")
    one = trained((words, mapped, starts), None, epochs=1)
    assert_close(one[2], trained(toy, None, epochs=1)[2])


def test_two_threads_learn_as_well(toy):
    import numba
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    fast = twin("ch12_fasttext", "numba")
    assert_close(trained(toy, fast)[2], trained(toy, None)[2], rtol=0.05)


@pytest.fixture(scope="module")
def centuries():
    texts, about = data.sotu_paragraphs()
    own = [i for i, a in enumerate(about) if a["year"] < 1850 or a["year"] >= 1950][::12]
    lines = [texts[i].lower().split() for i in own]
    labels = np.array([about[i]["year"] >= 1950 for i in own], np.int64)
    held = np.arange(len(own)) % 5 == 0
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys(
        w for line, h in zip(lines, held, strict=True) if not h for w in line))}
    return lines, labels, held, vocabulary


@pytest.mark.parametrize("name", ["classifier_block", "hierarchical_block"])
def test_the_classifier_tells_the_centuries_apart(name, centuries):
    lines, labels, held, vocabulary = centuries
    fast = twin("ch12_fasttext", "numba")
    indptr, rows = fast.text_rows(lines, vocabulary, 0, 0, 5000, 2)
    Z, A = initial_vectors(len(vocabulary), 5000, 8, np.random.default_rng(0), 2)
    tree = huffman_tree(np.bincount(labels)) if name[0] == "h" else None
    outputs = A[1:].copy() if tree else A
    known = np.flatnonzero(~held)
    sub = chapter.text_rows([lines[i] for i in known], vocabulary, 0, 0, 5000, 2)
    more = {"tree": tree} if tree else {}
    history = train_classifier(getattr(fast, name), Z, outputs, *sub, labels[known], 12, 0, 1.0,
                               **more)
    assert history[-1] < 0.5 * history[0] and history[0] < math.log(2) + 0.05
    P = classify_hierarchical(Z, outputs, indptr, rows, tree) if tree else classify(
        Z, outputs, indptr, rows)
    assert np.mean(P[held].argmax(axis=1) == labels[held]) > 0.9


# Errors.

def test_word_ngrams_need_two_words():
    assert word_ngram_buckets(["a"], 5, 10) == [] == word_ngram_buckets(["a", "b"], 1, 10)
    assert len(word_ngram_buckets(["a", "b", "c"], 3, 10)) == 3


def test_a_word_without_rows_is_an_error():
    with pytest.raises(ValueError, match="word: '' is unknown and has no n-gram of 3 to 6"):
        word_vector(np.ones((5, 2)), "", {"a": 0})


@every_rows
@pytest.mark.parametrize("arguments", [(-1, 3, 5), (3, -1, 5), (3, 6, 0), (0, 0, 0, 2)])
def test_ngrams_need_lengths_and_buckets(backend, arguments):
    with pytest.raises(ValueError, match="minn, maxn, bucket"):
        backend.text_rows([["a"]], {"a": 0}, *arguments)


def test_vectors_need_words_and_dimensions():
    for bad in ((0, 5, 3), (3, 5, 0), (3, -1, 3)):
        with pytest.raises(ValueError, match="V, d, bucket"):
            initial_vectors(*bad, np.random.default_rng(0))


BAD = [("tokens", [0, 9]), ("starts", [0, 1]), ("windows", [0, 1]), ("rates", [0.1, math.nan]),
       ("negatives", [[0], [9]]), ("negatives", np.zeros((2, 0), int)), ("negatives", [[0]]),
       ("indptr", ([0, 1], [0, 1])), ("indptr", ([0, 0, 2], [0, 1])),
       ("rows", ([0, 1, 2], [0, 99]))]


@every_block
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("argument, value", BAD)
def test_bad_arguments_are_named(backend, name, argument, value):
    dtype = dtype_of(backend)
    good = {"tokens": [0, 1], "starts": [0, 2], "windows": [1, 1], "rates": [0.1, 0.1],
            "negatives": [[0], [1]], "ngrams": ([0, 1, 2], [0, 1])}
    good["ngrams" if isinstance(value, tuple) else argument] = value
    Z, U = np.ones((5, 3), dtype), np.ones((2, 3), dtype)
    with pytest.raises(ValueError, match=argument.rstrip("s")):
        getattr(backend, name)(Z, U, *good.values())
    assert (Z == 1).all() and (U == 1).all()


@every_block
def test_tables_that_are_none_are_refused(backend):
    for Z, A in ((np.ones((3, 2), int), np.ones((2, 2))), (np.ones((3, 2)), np.ones((2, 3))),
                 (np.ones((3, 0)), np.ones((2, 0))), ([[1.0]], np.ones((1, 1))),
                 (np.ones((3, 2), np.float32), np.ones((2, 2)))):
        with pytest.raises(ValueError, match="expected an array of float rows"):
            backend.classifier_block(Z, A, [0, 1], [0], [0], [0], [0.1])


@every_block
def test_texts_that_are_none_are_refused(backend):
    dtype = dtype_of(backend)
    Z, A, tree = np.ones((3, 2), dtype), np.ones((2, 2), dtype), huffman_tree(np.array([3, 2, 1]))
    for changed, words in (({"labels": [2]}, "labels"), ({"order": [1]}, "order"),
                           ({"rates": [0.1, 0.1]}, "order"), ({"rows": [3]}, "rows"),
                           ({"indptr": [0, 0], "rows": []}, "indptr")):
        good = {"indptr": [0, 1], "rows": [0], "labels": [0], "order": [0], "rates": [0.1]}
        with pytest.raises((ValueError, TypeError), match=words):
            backend.classifier_block(Z, A, *(good | changed).values())
    with pytest.raises(ValueError, match="N: expected 2 rows for 3 labels"):
        backend.hierarchical_block(Z, A[:1], [0, 1], [0], [0], [0], [0.1], tree)


def test_training_says_what_is_wrong(toy):
    words, tokens, starts = toy
    with pytest.raises(ValueError, match="tokens: no word has a neighbour"):
        trained((words, tokens[:5], np.arange(6)), None)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="rate: with 1e"):
        trained(toy, twin("ch12_fasttext", "numba"), rate=1e30)


def test_the_twin_refuses_quantised_tables(models):
    with pytest.raises(TypeError, match="Z: expected an array"):
        twin("ch12_fasttext", "numba").mean_rows(models["quantised"].inputs, [0, 1], [0])
