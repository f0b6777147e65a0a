"""Chapter 14: BERT: what is hidden, heads and losses, training that keeps good states, senses."""
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, assert_gradient
from hypothesis import given
from hypothesis import strategies as st

from kernels import twin
from primer import claims, data
from primer.ch14_bert import (
    add_grads,
    class_scores,
    class_scores_backward,
    finetuning_step,
    initial_heads,
    mask_tokens,
    mean_loss,
    mean_loss_backward,
    mlm_scores,
    mlm_scores_backward,
    occurrence_vectors,
    pair_texts,
    piece_rows,
    polysemy_gap,
    pretraining_step,
    sense_separation,
    tag_scores,
    tag_scores_backward,
)
from primer.ch14_bert_encoder import encode, initial_encoder
from primer.ch14_bert_vocabulary import train_wordpiece
from primer.ch14_bert_wordpiece import WordPiece
from primer.claims.ch14_bert import WORDS, occurrences, seven_methods
from primer.exercises.ch14_bert import MASK, SPECIAL, drawn_heads, drawn_texts
from primer.training import small_bert, steps
from primer.training.steps import train

V, HEADS = 24, 2
SEEDS = st.integers(0, 999)


def model(seed=0, dtype=np.float64, layers=2, classes=(("nsp", 2), ("tag", 3)), size=1.0):
    """An encoder of 24 pieces with all its heads, every number drawn -> P."""
    rng = np.random.default_rng(seed)
    P = initial_heads(initial_encoder(V, 16, 8, layers, 16, rng, dtype=dtype), rng, classes)
    return {k: (x + size * 0.3 * rng.standard_normal(x.shape)).astype(dtype) for k, x in P.items()}


def pretraining_batch(seed=0, B=3, T=10):
    """-> what pretraining_step takes; the texts have their own lengths."""
    rng = np.random.default_rng(seed)
    ids = drawn_texts(seed, B, T, V)
    mask = ids != 0
    inputs, places, labels = mask_tokens(ids, rng, V, MASK, SPECIAL, 0.4)
    segments = np.tile(np.arange(T) > 3, (B, 1)).astype(int)
    return inputs, mask, segments, places, labels, rng.integers(0, 2, B)


# 1. The equations.

def gelu(x):
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def cross_entropy(row, label):
    return math.log(sum(math.exp(s - max(row)) for s in row)) + max(row) - row[label]


@given(seed=SEEDS)
def test_the_loss_of_hidden_words_is_the_equation(seed):
    P, H = drawn_heads(seed)
    places, labels = np.array([0, 2, 5]), np.array([3, 3, 6])
    total = 0.0
    for place, label in zip(places, labels, strict=True):
        h = H.reshape(6, 3)[place].tolist()
        y = [gelu(sum(h[i] * P["mlm.dense"][i, j] for i in range(3)) + P["mlm.dense_bias"][j])
             for j in range(3)]
        mean = sum(y) / 3
        spread = math.sqrt(sum((v - mean) ** 2 for v in y) / 3 + 1e-12)
        y = [(v - mean) / spread * P["mlm.scale"][j] + P["mlm.shift"][j] for j, v in enumerate(y)]
        row = [sum(e * v for e, v in zip(P["tokens"][w], y, strict=True)) + P["mlm.bias"][w]
               for w in range(7)]
        total += cross_entropy(row, label)
    assert_close(mean_loss(mlm_scores(P, H, places)[0], labels)[0], total / 3)


@given(seed=SEEDS)
def test_the_losses_of_texts_and_tags_are_the_equations(seed):
    P, H = drawn_heads(seed)
    want, tagged = 0.0, []
    tags = np.random.default_rng(seed).integers(-1, 4, (2, 3))
    tags[0, 0] = 2
    for t, y in ((0, 1), (1, 3)):
        pooled = np.tanh(H[t, 0] @ P["pool"] + P["pool_bias"])
        want += cross_entropy((pooled @ P["nsp"] + P["nsp_bias"]).tolist(), y) / 2
        for i in range(3):
            row = (H[t, i] @ P["nsp"] + P["nsp_bias"]).tolist()
            tagged += [cross_entropy(row, tags[t, i])] if tags[t, i] >= 0 else []
    assert_close(mean_loss(class_scores(P, H)[0], [1, 3])[0], want)
    assert_close(mean_loss(tag_scores(P, H, "nsp")[0], tags)[0], sum(tagged) / len(tagged))


def test_a_pair_is_cls_a_sep_b_sep():
    ids, segments = pair_texts(np.array([7, 8]), np.array([9]), 2, 3)
    assert ids.tolist() == [2, 7, 8, 3, 9, 3] and segments.tolist() == [0, 0, 0, 0, 1, 1]


# 2. Worked examples of the text.

def test_cat_by_seven_methods():
    found = seven_methods("cat", data.load_texts()["cat_dog"]["documents"])
    assert list(found) == ["bag of words", "TF-IDF", "BM25", "word2vec", "GloVe", "fastText",
                           "BERT"]
    assert_close(found["bag of words"][0], [1.0, 0.0, 1.0])
    assert_close(found["TF-IDF"][0], [math.log(1.5) / 5, 0, math.log(1.5) / 4])   # line 1497 errs
    assert_close(found["BM25"][0].round(4), [0.4567, 0.0, 0.4992])                # line 1501 errs
    for name, X in found.items():
        assert len(X) == 2 and np.isfinite(X).all()
        assert np.array_equal(X[0], X[1]) == (name != "BERT")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_two_senses_by_seven_methods(word):
    sentences, senses = occurrences(word)
    assert len(set(senses)) == 2
    for name, X in seven_methods(word, [*sentences, "no such thing here"]).items():
        assert len(X) == len(sentences)
        gap = polysemy_gap(X, senses)
        if name == "BERT":
            assert gap > 0.01
        else:
            assert_close(gap, 0.0, atol=1e-6)


def test_bank_at_the_river_is_told_from_bank_with_money():
    small = small_bert.load()
    sentences, senses = occurrences("bank")
    X = occurrence_vectors(small.P, small.heads, small.wordpiece, "bank", sentences)
    assert sense_separation(X, senses) > 0.05


def test_the_claims_have_their_verdicts():
    rows = claims.rows(14)
    assert [r["line"] for r in rows if r["verdict"] == "wrong"] == [1293, 1372, 1524, 1571]
    assert [r["line"] for r in rows if r["verdict"] == "right"] == [
        1399, 1410, 1419, 1430, 1441, 1452, 1460, 1463, *5 * [1465], 1568, 1571]


# 3. Properties.

@given(seed=SEEDS, share=st.sampled_from([0.05, 0.15, 0.5, 0.95]))
def test_what_is_hidden(seed, share):
    ids = drawn_texts(seed, 5, 14, 30)
    inputs, places, labels = mask_tokens(ids, np.random.default_rng(seed), 30, MASK, SPECIAL, share)
    words = (~np.isin(ids, SPECIAL)).sum(axis=1)
    assert_close(np.bincount(places // 14, minlength=5),
                 np.maximum(1, np.rint(share * words)).astype(int))
    assert not np.isin(labels, SPECIAL).any()
    again = mask_tokens(ids, np.random.default_rng(seed), 30, MASK, SPECIAL, share)
    assert all(np.array_equal(a, b) for a, b in zip((inputs, places, labels), again, strict=True))


@given(seed=SEEDS)
def test_only_hidden_places_count(seed):
    P, H = drawn_heads(seed)
    places, labels = np.array([1, 3]), np.array([2, 5])
    rest = np.setdiff1d(np.arange(6), places)
    other = H.copy()
    other.reshape(6, 3)[rest] += 1
    one, two = (mean_loss(mlm_scores(P, X, places)[0], labels)[0] for X in (H, other))
    assert one == two


@given(seed=SEEDS)
def test_senses_are_bounded_and_their_order_is_nothing(seed):
    rng = np.random.default_rng(seed)
    X, senses, order = rng.standard_normal((7, 4)), [0, 0, 0, 1, 1, 2, 2], rng.permutation(7)
    assert 0 <= polysemy_gap(X, senses) <= 2 and -2 <= sense_separation(X, senses) <= 2
    for f in (polysemy_gap, sense_separation):
        assert_close(f(X[order], [senses[i] for i in order]), f(X, senses))
        assert_close(f(X @ np.linalg.qr(rng.standard_normal((4, 4)))[0], senses), f(X, senses))


def test_pieces_of_a_word():
    tokens = "[CLS] the bank ##er bank ##s bank . [SEP]".split()
    assert piece_rows(tokens, "bank").tolist() == [6]
    assert piece_rows(tokens, "banker").tolist() == [2, 3]
    with pytest.raises(ValueError, match="word: 'river'"):
        piece_rows(tokens, "river")


def test_a_vector_is_the_mean_of_its_pieces():
    wordpiece = WordPiece(train_wordpiece(["a bat and bats", "abba dab"], 14))
    rng = np.random.default_rng(0)
    P = initial_encoder(len(wordpiece), 16, 8, 1, 16, rng, dtype=np.float64)
    text = "dab a bats"
    pieces = wordpiece.tokens(text)
    own = 1 + piece_rows(pieces, "bats")
    assert len(own) > 1
    H, _ = encode(P, HEADS, np.array([wordpiece.encode(text)]))
    assert_close(occurrence_vectors(P, HEADS, wordpiece, "bats", [text])[0], H[0, own].mean(axis=0))


# 4. Gradients, through the encoder.

def flat(P):
    return np.concatenate([P[k].ravel() for k in sorted(P)])


def unflat(x, P):
    cuts = np.split(x, np.cumsum([P[k].size for k in sorted(P)])[:-1])
    return {k: c.reshape(P[k].shape) for k, c in zip(sorted(P), cuts, strict=True)}


def filled(grads, P):
    return {k: grads.get(k, np.zeros_like(x)) for k, x in P.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pairs", [True, False])
def test_the_gradient_of_pretraining(seed, pairs):
    P, batch = model(seed), pretraining_batch(seed)
    batch = batch if pairs else (*batch[:5], None)
    losses, grads = pretraining_step(P, HEADS, batch)
    assert len(losses) == 1 + pairs
    assert_gradient(lambda x: sum(pretraining_step(unflat(x, P), HEADS, batch)[0]),
                    flat(filled(grads, P)), flat(P), seed, rtol=1e-6)


def test_the_gradient_of_pretraining_with_dropout():
    P, batch = model(1), pretraining_batch(1)

    def step(P):
        return pretraining_step(P, HEADS, batch, 0.2, np.random.default_rng(5))
    assert_gradient(lambda x: sum(step(unflat(x, P))[0]), flat(filled(step(P)[1], P)), flat(P), 2,
                    rtol=1e-6)


@pytest.mark.parametrize("name, scores, backward, shape", [
    ("nsp", class_scores, class_scores_backward, (3,)),
    ("tag", tag_scores, tag_scores_backward, (3, 10))])
def test_the_gradient_of_finetuning(name, scores, backward, shape):
    P, rng = model(3), np.random.default_rng(3)
    ids = drawn_texts(3, 3, 10, V)
    batch = ids, ids != 0, rng.integers(-1, 2, shape) if len(shape) > 1 else rng.integers(0, 2, 3)

    def step(P):
        return finetuning_step(P, HEADS, batch, name, scores, backward)
    assert_gradient(lambda x: step(unflat(x, P))[0][0], flat(filled(step(P)[1], P)), flat(P), 4,
                    rtol=1e-6)


def test_gradients_of_an_array_that_serves_twice_add_up():
    grads = add_grads({"a": np.ones(2)}, {"a": np.ones(2), "b": np.zeros(1)})
    assert_close(grads["a"], [2.0, 2.0])
    assert list(grads) == ["a", "b"]


# 5. Parity with torch; what it computes stands in tests/parity/ch14_bert.py.

PARITY = Path(__file__).parent / "parity/ch14_bert.npz"


def test_heads_and_losses_are_torchs():
    stored = dict(np.load(PARITY, allow_pickle=False))
    P = {k[2:]: x for k, x in stored.items() if k.startswith("P/")}
    H, places = stored["H"], np.arange(6)
    S, own = mlm_scores(P, H, places)
    loss, down = mean_loss(S, stored["labels"])
    assert_close(loss, float(stored["mlm"]))
    dH, grads = mlm_scores_backward(mean_loss_backward(down), own)
    assert_close(dH, stored["mlm/H"])
    for k, x in grads.items():
        assert_close(x, stored[f"mlm/{k}"])
    S, own = class_scores(P, H)
    loss, down = mean_loss(S, stored["classes"])
    assert_close(loss, float(stored["class"]))
    dH, grads = class_scores_backward(mean_loss_backward(down), own)
    assert_close(dH, stored["class/H"])
    for k, x in grads.items():
        assert_close(x, stored[f"class/{k}"])


# 6. The twin of the layers does the work.

@pytest.mark.parametrize("pairs", [True, False])
def test_a_step_by_numba_is_the_references(pairs):
    P, batch = model(7, np.float32), pretraining_batch(7)
    batch = batch if pairs else (*batch[:5], None)
    want, wanted = pretraining_step(P, HEADS, batch)
    got, grads = pretraining_step(P, HEADS, batch, ops=twin("ch14_bert_layers", "numba"))
    assert_close(got, want, rtol=1e-5)
    assert grads.keys() == wanted.keys()
    for k, x in wanted.items():
        assert grads[k].dtype == np.float32
        assert_close(grads[k], x, rtol=2e-3, atol=2e-5)


# 7. Training.

def learning(P, ids, rate=0.02, count=60, **more):
    """Hide and guess in a few texts, again and again -> history."""
    def step(P, rng):
        inputs, places, labels = mask_tokens(ids, rng, V, MASK, SPECIAL)
        return pretraining_step(P, HEADS, (inputs, ids != 0, None, places, labels, None))
    return train(P, step, count, rate, **more)


def started(seed=0):
    rng = np.random.default_rng(seed)
    return initial_heads(initial_encoder(V, 16, 8, 1, 16, rng), rng)


IDS = np.arange(5, V)[(np.arange(12)[:, None] + np.arange(10)) % (V - 5)]     # each follows its own


def test_it_learns_what_stands_beside():
    history = learning(started(), IDS, count=300)
    assert history[:10].mean() > 2.7 and history[-20:].mean() < 1.2           # ln 19 = 2.94


def test_a_run_goes_on_bit_for_bit(tmp_path):
    whole, halves, file = started(), started(), tmp_path / "run.npz"
    history = learning(whole, IDS)

    def halt(P, rng, seen=[0]):                                          # noqa: B006
        seen[0] += 1
        if seen[0] == 30:
            raise KeyboardInterrupt
        inputs, places, labels = mask_tokens(IDS, rng, V, MASK, SPECIAL)
        return pretraining_step(P, HEADS, (inputs, IDS != 0, None, places, labels, None))
    with pytest.raises(KeyboardInterrupt):
        train(halves, halt, 60, 0.02, file=file, every=10)
    fresh = started()
    again = learning(fresh, IDS, file=file, every=10)
    assert_close(again, history)
    for k, x in whole.items():
        assert fresh[k].tobytes() == x.tobytes(), k


def test_an_interrupt_leaves_a_good_state_and_a_whole_file(tmp_path):
    P, file, kept = started(), tmp_path / "run.npz", []

    def step(P, rng):
        kept.append({k: x.copy() for k, x in P.items()})
        if len(kept) == 26:
            for x in P.values():
                x += 1                                                   # half of a step is done
            raise KeyboardInterrupt
        inputs, places, labels = mask_tokens(IDS, rng, V, MASK, SPECIAL)
        return pretraining_step(P, HEADS, (inputs, IDS != 0, None, places, labels, None))
    with pytest.raises(KeyboardInterrupt):
        train(P, step, 60, 0.02, file=file, every=10)
    with np.load(file) as stored:
        assert int(stored["number"]) == 20 and len(stored["history"]) == 20
        for k, x in P.items():
            assert x.tobytes() == kept[20][k].tobytes() == stored[f"P/{k}"].tobytes()
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("where", ["loss", "gradient", "model"])
def test_what_is_not_finite_stops_and_the_last_good_state_stays(tmp_path, where):
    P, file, kept = started(), tmp_path / "run.npz", []

    def step(P, rng):
        kept.append({k: x.copy() for k, x in P.items()})
        inputs, places, labels = mask_tokens(IDS, rng, V, MASK, SPECIAL)
        losses, grads = pretraining_step(P, HEADS, (inputs, IDS != 0, None, places, labels, None))
        if len(kept) == 16 and where == "loss":
            losses = [math.nan]
        if len(kept) == 16 and where == "gradient":
            grads["tokens"][0, 0] = math.nan
        if len(kept) == 20 and where == "model":
            P["mlm.bias"][3] = math.inf
        return losses, grads
    words = r"rate: with 0.02 .* take less. The model is as after"
    with pytest.raises(ValueError, match=words), np.errstate(invalid="ignore"):
        train(P, step, 20, 0.02, file=file, every=5)
    last = {"loss": 10, "gradient": 10, "model": 15}[where]
    with np.load(file) as stored:
        assert int(stored["number"]) == last
    for k, x in P.items():
        assert x.tobytes() == kept[last][k].tobytes() and np.isfinite(x).all()


def test_a_rate_far_too_large_is_told():
    P = started()
    with pytest.raises(ValueError, match="rate: with 1e\\+30"), np.errstate(all="ignore"):
        learning(P, IDS, rate=1e30)
    assert all(np.isfinite(x).all() for x in P.values())


def test_a_checkpoint_of_another_model_or_a_cut_one_is_refused(tmp_path):
    file = tmp_path / "run.npz"
    learning(started(), IDS, count=3, file=file)
    other = initial_heads(started(), np.random.default_rng(0), [("tag", 3)])
    with pytest.raises(ValueError, match="another model"):
        learning(other, IDS, count=3, file=file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match="no whole checkpoint"):
        learning(started(), IDS, count=3, file=file)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    file = tmp_path / "run.npz"
    learning(started(), IDS, count=3, file=file)
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError("disk full")
    monkeypatch.setattr(steps.np, "savez", full)
    with pytest.raises(OSError, match="disk full"):
        learning(started(), IDS, count=6, file=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name, scores, backward", [
    ("nsp", class_scores, class_scores_backward), ("tag", tag_scores, tag_scores_backward)])
def test_finetuning_learns(name, scores, backward):
    P = initial_heads(started(), np.random.default_rng(0), [("nsp", 2), ("tag", 2)])

    def step(P, rng):
        ids = rng.integers(5, V, (16, 8))
        labels = (ids == 7).any(axis=1).astype(int) if name == "nsp" else (ids > 14).astype(int)
        return finetuning_step(P, HEADS, (ids, None, labels), name, scores, backward)
    history = train(P, step, 250, 0.02)
    assert history[-20:].mean() < 0.25 < 0.5 < history[:10].mean()


# 8. The small BERT of datasets/: what it has learned of addresses that it never saw.

def test_the_small_bert_beats_frequencies_by_far():
    small, fast = small_bert.load(), twin("ch14_bert_layers", "numba")
    held_out = small_bert.cut_sentences(small.wordpiece, *small_bert.addresses(held_out=True))
    p = small_bert.frequencies(held_out)                  # even these, counted on what is judged
    found = small_bert.judge(small.P, small.heads, held_out, p, batches=6, ops=fast)
    assert found["masked"] > 700
    assert found["cross_entropy"] < found["unigram_cross_entropy"] - 2.2
    assert found["accuracy"] > 4 * found["unigram_accuracy"]


def test_addresses_are_held_out_whole():
    train_texts, ours = small_bert.addresses()
    judged, theirs = small_bert.addresses(held_out=True)
    assert not set(ours) & set(theirs) and len(judged) / len(train_texts) < 0.1
    assert len(train_texts) + len(judged) == len(data.sotu_paragraphs()[0])


def toy_sentences():
    texts = ["The dog sat. The cat sat on a log; the end.", "A cat ate.", "Logs end. So it is."]
    wordpiece = WordPiece(train_wordpiece(texts, 60))
    return small_bert.cut_sentences(wordpiece, texts, [0, 0, 1], most=4)


def test_batches_are_pairs_and_single_sentences():
    sentences = toy_sentences()
    assert all(1 <= len(row) <= 4 for row in sentences.rows)
    assert np.all(np.diff(sentences.owners) >= 0)
    inputs, mask, segments, places, labels, follows = small_bert.draw_batch(
        sentences, 200, np.random.default_rng(0))
    ids = inputs.copy()
    ids.reshape(-1)[places] = labels
    sep = sentences.wordpiece.ids["[SEP]"]
    assert np.array_equal((ids == sep).sum(axis=1), np.where(follows < 0, 1, 2))
    assert 0.15 < np.mean(follows < 0) < 0.35 and 0.2 < np.mean(follows[follows >= 0]) < 0.6
    rows = [row.tolist() for row in sentences.rows]
    for row, own, second, kind in zip(ids, mask, segments, follows, strict=True):
        a, b = row[own & (second == 0)][1:-1].tolist(), row[own & (second == 1)][:-1].tolist()
        assert a in rows and (kind < 0) == (not b)
        if kind == 1:
            assert any(rows[i:i + 2] == [a, b] for i in range(len(rows)))


def test_a_model_is_stored_and_loaded(tmp_path):
    sentences = toy_sentences()
    P = small_bert.start(sentences, d=8, layers=1)
    history = small_bert.pretrain(P, 2, sentences, 3, size=4)
    file = tmp_path / "model.npz"
    small_bert.save(file, small_bert.SmallBert(P, 2, sentences.wordpiece, history))
    again = small_bert.load(file)
    assert again.wordpiece.vocabulary == sentences.wordpiece.vocabulary and again.heads == 2
    for k, x in P.items():
        assert_close(again.P[k], x, rtol=1e-3, atol=1e-6)
    (found,) = small_bert.fill_blanks(again, "The [MASK] sat.", 3)
    assert len(found) == 3 and 1 >= found[0][1] >= found[1][1] >= found[2][1] > 0
    with pytest.raises(ValueError, match=r"text: expected a \[MASK\]"):
        small_bert.fill_blanks(again, "The cat sat.")


# 9. Bad input.

@pytest.mark.parametrize("call, words", [
    (lambda ids: mask_tokens(ids, None, V, MASK, SPECIAL, share=0), "share: .*nothing to predict"),
    (lambda ids: mask_tokens(ids, None, V, MASK, SPECIAL, share=1), "share: "),
    (lambda ids: mask_tokens(ids, np.random.default_rng(0), V, MASK, range(V)), "ids: no token"),
    (lambda ids: mask_tokens(ids + 99, None, V, MASK, SPECIAL), "ids: "),
    (lambda ids: mask_tokens(ids - 99, None, V, MASK, SPECIAL), "ids: "),
    (lambda ids: mean_loss(np.zeros((2, 3)), [-1, -1]), "labels: "),
    (lambda ids: mean_loss(np.zeros((2, 3)), [0]), "labels: "),
    (lambda ids: mean_loss(np.zeros((2, 3)), [0, 3]), "labels: "),
    (lambda ids: mean_loss(np.zeros((0, 3)), []), "labels: "),
    (lambda ids: polysemy_gap(np.eye(3), [1, 1, 1]), "senses: "),
    (lambda ids: polysemy_gap(np.eye(3), [1, 2]), "senses: "),
    (lambda ids: sense_separation(np.eye(3), [0, 1, 2]), "senses: .*twice"),
    (lambda ids: pretraining_step(model(), HEADS, (np.zeros((1, 99), int), *5 * [None])), "ids: "),
])
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.arange(6).reshape(2, 3) + 5)


def test_words_of_a_sentence_that_lacks_them_are_told():
    small = small_bert.load()
    find = partial(occurrence_vectors, small.P, small.heads, small.wordpiece)
    with pytest.raises(ValueError, match="word: 'bank'"):
        find("bank", ["The river is long."])
