"""`python -m primer train`, its parts: the corpus file, blocks, checkpoints, interruptions."""
import gzip
import json
import os
import signal

import numpy as np
import pytest
from conftest import assert_close
from hypothesis import given
from hypothesis import strategies as st

from primer import ch06_word2vec as ch06
from primer import formats, training
from primer.__main__ import main
from primer.formats import fasttext
from primer.training import corpus, job, models

# ---- the corpus file ----------------------------------------------------------------------------

LINES = st.lists(st.lists(st.sampled_from(["a", "b", "c", "dé", "e,", "F"]), max_size=6),
                 min_size=1, max_size=8)
BLANKS, ENDS = st.sampled_from([" ", "  ", "\t"]), st.sampled_from(["", "\n", "\r\n"])


def write(path, text):
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["text", "text.gz"])
@pytest.mark.parametrize("piece", [1, 2, 5, 1 << 22])
@given(lines=LINES, blank=BLANKS, end=ENDS)
def test_a_file_is_the_corpus_of_its_lines(tmp_path_factory, name, piece, lines, blank, end):
    folder = tmp_path_factory.mktemp("run")
    documents = [blank.join(words) for words in lines]
    path = write(folder / name, ("\n".join(documents) + end).encode())
    split = [d.split() for d in documents]
    counts = {w: sum(s.count(w) for s in split) for s in split for w in s}
    if sum(n >= 2 for n in counts.values()) < 2:
        with pytest.raises(ValueError, match="--min-count|holds no word"):
            corpus.prepare(path, folder, 2)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE", piece)
        patch.setattr(corpus, "BLOCK", piece)
        found = corpus.prepare(path, folder, 2)
    words = sorted((w for w in counts if counts[w] >= 2), key=lambda w: -counts[w])
    assert found.words == words and found.counts.tolist() == [counts[w] for w in words]
    kept = [[words.index(w) for w in s if w in words] for s in split]
    assert found.tokens.tolist() == sum(kept, [])
    assert np.diff(found.starts).tolist() == [len(k) for k in kept if k]
    again = corpus.prepare(path, folder, 2)                  # from its folder
    assert again.words == words and again.tokens.dtype == np.int32
    assert again.starts.tolist() == found.starts.tolist()


def test_it_agrees_with_chapter_6(tmp_path):
    documents = ["the cat sat on the mat", "the dog sat on the log", "cat and dog"]
    found = corpus.prepare(write(tmp_path / "text", "\n".join(documents).encode()), tmp_path, 1)
    vocabulary, counts = ch06.count_vocabulary(documents)
    tokens, starts = ch06.encode_corpus(documents, vocabulary)
    assert found.words == list(vocabulary) and found.counts.tolist() == counts.tolist()
    assert found.tokens.tolist() == tokens.tolist() and found.starts.tolist() == starts.tolist()


@pytest.mark.parametrize("longest, starts", [
    (4, [0, 2, 6, 10, 11]), (9, [0, 2, 11]), (8, [0, 2, 10, 11]), (1, list(range(12)))])
def test_long_documents_are_cut(tmp_path, monkeypatch, longest, starts):
    monkeypatch.setattr(corpus, "LONGEST", longest)
    path = write(tmp_path / "text", b"a b\n" + b"a b a " * 3)
    assert corpus.prepare(path, tmp_path, 1).starts.tolist() == starts


@pytest.mark.parametrize("text, words", [
    (b"", "holds no word"), (b" \n\n", "holds no word"), (b"a a a", "1 of its 1 words"),
    (b"a b c", "0 of its 3 words occur 2 times"), (b"a a \xff \xff", "not UTF-8"),
    (b"a a \0b \0b", "holds a blank"), (b"a " + b"x" * 100_000, "more than 65536 bytes")])
def test_a_corpus_that_cannot_be_trained_on(tmp_path, monkeypatch, text, words):
    with pytest.raises(ValueError, match=words):
        corpus.prepare(write(tmp_path / "text", text), tmp_path, 2)
    assert os.listdir(tmp_path) == ["text"]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30), size=st.integers(1, 50))
def test_runs_hold_every_document_once(lengths, size):
    starts = np.cumsum([0, *lengths])
    bounds = corpus.runs(starts, size)
    assert [b for b, _ in bounds[1:]] == [e for _, e in bounds[:-1]]
    assert bounds[0][0] == 0 and bounds[-1][1] == len(lengths)
    for first, stop in bounds:
        words = starts[stop] - starts[first]
        assert stop == first + 1 or words <= size
        assert stop == len(lengths) or words + lengths[stop] > size


# ---- a run --------------------------------------------------------------------------------------

def three_blocks(epochs=3, calls=None, stop_at=None):
    """Three blocks an epoch; each adds what it draws to x, so that every step shows."""
    x = np.zeros(2)

    def step(epoch, block, rng):
        x[:] = 0.5 * x + rng.random(2)
        if calls is not None:
            calls.append((epoch, block))
        if stop_at == (epoch, block):
            os.kill(os.getpid(), signal.SIGINT)
        return 6.0 - epoch, 2
    return job.Job({"x": x}, [10, 10, 5], step, epochs)


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1), (2, 1)])
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, place, capsys):
    whole = three_blocks()
    history = job.run(whole, tmp_path, 7)
    assert_close(history, [3.0, 2.5, 2.0])
    (tmp_path / "checkpoint.npz").unlink()
    calls = []
    first = three_blocks(calls=calls, stop_at=place)
    with pytest.raises(job.Interrupted, match="the same command goes on"):
        job.run(first, tmp_path, 7)
    assert calls[-1] == place and "stopping after this block" in capsys.readouterr().err
    then = three_blocks(calls=calls)
    assert_close(job.run(then, tmp_path, 7), history)
    assert calls == [(e, b) for e in range(3) for b in range(3)]
    assert then.arrays["x"].tolist() == whole.arrays["x"].tolist()


def test_an_ended_run_is_not_run_again(tmp_path):
    whole, calls = three_blocks(), []
    job.run(whole, tmp_path, 7)
    again = three_blocks(calls=calls)
    assert_close(job.run(again, tmp_path, 7), [3.0, 2.5, 2.0])
    assert not calls and again.arrays["x"].tolist() == whole.arrays["x"].tolist()


def test_the_second_interrupt_stops_at_once():
    stop = job.Stop()
    with stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    def full(file, **arrays):
        file.write(b"part")
        raise OSError(28, "No space left on device")
    calls = []
    with pytest.raises(job.Interrupted):
        job.run(three_blocks(stop_at=(1, 0)), tmp_path, 7)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left.*make room and run the same command again"):
        job.run(three_blocks(calls=calls), tmp_path, 7, every=0)
    assert calls[0] == (1, 1) and "training goes on" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.npz"]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, loss):
    bad = job.Job({}, [1], lambda *_: (loss, 1), 1)
    with pytest.raises(ValueError, match="--lr: after block 1 of epoch 1"):
        job.run(bad, tmp_path, 1)
    assert not os.listdir(tmp_path)


def test_a_folder_belongs_to_one_run(tmp_path):
    folder = tmp_path / "out.vec.run"
    job.claim(folder, {"dim": 3, "seed": 1})
    job.claim(folder, {"dim": 3, "seed": 1})
    job.claim(folder, {"dim": 4, "seed": 1})                 # nothing was trained: begin anew
    job.run(three_blocks(), folder, 7)
    with pytest.raises(ValueError, match=r"other settings \(dim, seed\).*delete the folder"):
        job.claim(folder, {"dim": 3, "seed": 2})
    job.claim(folder, {"dim": 4, "seed": 1})
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "file", b"mine")
    with pytest.raises(ValueError, match="not a run's folder"):
        job.claim(tmp_path / "mine", {"dim": 3})
    job.release(folder)
    assert not folder.exists() and (tmp_path / "mine" / "file").exists()


# ---- asking a file ------------------------------------------------------------------------------

KING = b"""5 2
king 1 0.1
man 1 0
woman 0 1
queen 0.1 1
nil 0 0
"""


def ask(capsys, *arguments):
    """-> exit code, standard output, standard error."""
    code = main(list(map(str, arguments)))
    return code, *capsys.readouterr()


def test_neighbors(tmp_path, capsys):
    path = write(tmp_path / "king.vec", KING)
    code, out, _ = ask(capsys, "neighbors", "--vectors", path, "king", "queen", "--json", "-k", 2)
    king, queen = json.loads(out)
    root = np.sqrt(1.01)
    assert code == 0 and [n["word"] for n in king["neighbors"]] == ["man", "queen"]
    assert_close([n["cosine"] for n in king["neighbors"]], [1 / root, 0.2 / 1.01], atol=1e-6)
    assert [n["word"] for n in queen["neighbors"]] == ["woman", "king"] and queen["known"]
    code, out, _ = ask(capsys, "neighbors", "--vectors", path, "king")
    assert out.split() == ["king", "1", "0.9950", "man", "2", "0.1980", "queen", "3", "0.0995",
                           "woman"]                          # the vector 0 is near to nothing


def test_analogy(tmp_path, capsys):
    path = write(tmp_path / "king.vec", KING)
    code, out, _ = ask(capsys, "analogy", "--vectors", path, "man", "king", "woman", "--json")
    assert code == 0 and [a["word"] for a in json.loads(out)] == ["queen"]
    code, out, _ = ask(capsys, "analogy", "--vectors", path, "king", "man", "queen")
    assert out.splitlines()[0] == "king is to man as queen is to" and "woman" in out


@pytest.mark.parametrize("arguments, words", [
    (("neighbors", "kin"), "no word 'kin'; did you mean king"),
    (("neighbors", "nil"), "'nil' has the vector 0"), (("neighbors", "king", "-k", 0), "-k"),
    (("analogy", "king", "man"), "expected three"), (("analogy", "a", "king", "man"), "no word")])
def test_a_bad_question(tmp_path, capsys, arguments, words):
    path = write(tmp_path / "king.vec", KING)
    code, out, err = ask(capsys, *arguments, "--vectors", path)
    assert code == 1 and not out and words in err


def test_a_word_that_only_its_ngrams_know(tmp_path, capsys):
    rng = np.random.default_rng(0)
    about = dict.fromkeys(fasttext.ARGUMENTS, 1) | {"dim": 3, "bucket": 5, "minn": 2, "maxn": 3}
    model = formats.FastText(about, ["cat", "sat", "dog"], np.array([3, 2, 1]),
                             *(rng.normal(size=(n, 3)).astype(np.float32) for n in (8, 3)))
    formats.write_vectors(tmp_path / "model.bin", model)
    code, out, _ = ask(capsys, "neighbors", "--vectors", tmp_path / "model.bin", "cats", "--json")
    answer, = json.loads(out)
    v = model.word_vector("cats")                            # (3,)
    cosines = {w: float(x @ v / np.linalg.norm(x) / np.linalg.norm(v)) for w, x in
               ((w, model.word_vector(w)) for w in model.words)}
    assert code == 0 and not answer["known"]
    assert [n["word"] for n in answer["neighbors"]] == sorted(cosines, key=lambda w: -cosines[w])
    assert_close([n["cosine"] for n in answer["neighbors"]], sorted(cosines.values())[::-1],
                 atol=1e-6)
    code, out, _ = ask(capsys, "neighbors", "--vectors", tmp_path / "model.bin", "cats")
    assert out.splitlines()[0] == "cats   (unknown: from its n-grams)"


# ---- training -----------------------------------------------------------------------------------

KINDS = ("word2vec", "word2vec --arch cbow", "word2vec --loss hs", "word2vec --loss hs --arch cbow",
         "word2vec --loss softmax", "word2vec --loss softmax --arch cbow", "glove",
         "fasttext", "fasttext --arch cbow")
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for name in ("BLOCK", "SOFTMAX_BLOCK", "COUNTED", "ENTRIES"):
        monkeypatch.setattr(models, name, 150)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """400 words, a rare one and short lines among them; ~a is always beside ~b."""
    rng = np.random.default_rng(5)
    lines = [" ".join(f"{w}{x}" for w in rng.integers(0, 9, rng.integers(0, 6)) for x in "ab")
             for _ in range(80)]
    return write(tmp_path_factory.mktemp("text") / "text", "\n".join([*lines, "rare"]).encode())


def train(capsys, kind, text, out, *more):
    """-> exit code, standard error."""
    size = ["--dim", 8, "--epochs", 2, "--min-count", 2, "--sample", 0.1, "--buckets", 50]
    if not kind.startswith("fasttext"):
        size = size[:-2]
    if kind == "glove":
        size = size[:-2]
    options = ["--threads", 1, *more]
    code, out, err = ask(capsys, "train", *kind.split(), "--corpus", text, "--out", out, *size,
                         *options)
    assert not out
    return code, err


@kinds
def test_backends_agree_and_one_thread_gives_the_same_bits(tmp_path, capsys, text, kind):
    found = []
    for name, *more in (("one.bin",), ("two.bin",), ("ref.bin", "--backend", "numpy"),
                        ("other.bin", "--seed", 2)):
        code, err = train(capsys, kind, text, tmp_path / name, *more)
        assert code == 0 and "mean loss" in err, err
        found.append(formats.read_vectors(tmp_path / name))
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one.bin", "other.bin", "ref.bin", "two.bin"]
    one, _, reference, other = found
    assert one.words == reference.words and "rare" not in one and len(one) == 18
    assert_close(one.vectors, reference.vectors, rtol=1e-3, atol=1e-5)
    assert np.abs(one.vectors - other.vectors).max() > 1e-3


@kinds
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, capsys, text, kind,
                                                          monkeypatch):
    assert train(capsys, kind, text, tmp_path / "whole.vec")[0] == 0
    steps = job.Job.__init__

    def interrupting(self, arrays, sizes, step, *rest):
        def once(epoch, block, rng):
            if (epoch, block) == (1, 0):
                os.kill(os.getpid(), signal.SIGINT)
            return step(epoch, block, rng)
        steps(self, arrays, sizes, once, *rest)
    monkeypatch.setattr(job.Job, "__init__", interrupting)
    code, err = train(capsys, kind, text, tmp_path / "cut.vec")
    assert code == 130 and "the same command goes on" in err
    assert not (tmp_path / "cut.vec").exists()
    monkeypatch.setattr(job.Job, "__init__", steps)
    code, err = train(capsys, kind, text, tmp_path / "cut.vec", "--seed", 9)
    assert code == 1 and "other settings (seed)" in err
    monkeypatch.setattr(corpus, "number_words", None)         # its corpus is not read again
    code, err = train(capsys, kind, text, tmp_path / "cut.vec")
    assert code == 0 and (tmp_path / "cut.vec").read_bytes() == (
        tmp_path / "whole.vec").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["cut.vec", "whole.vec"]


def test_words_that_stand_together_come_together(tmp_path, capsys, text):
    """3a is always before 3b, and beside nothing else that often."""
    for kind in ("word2vec", "glove", "fasttext --max-n 0"):
        code, err = train(capsys, kind, text, tmp_path / "x.vec", "--epochs", 60, "--window", 1,
                          "--lr", 0.1)
        assert code == 0
        losses = [float(line.split()[-1]) for line in err.splitlines() if "mean loss" in line]
        assert losses[-1] < 0.9 * losses[0]
    vectors = formats.read_vectors(tmp_path / "x.vec")
    assert len(vectors) == 18


def test_a_full_disk_at_the_end_loses_nothing(tmp_path, capsys, text, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")
    assert train(capsys, "word2vec", text, tmp_path / "whole.vec")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_vectors", full)
        code, err = train(capsys, "word2vec", text, tmp_path / "x.vec")
    assert code == 1 and "No space left" in err and "run the same command again" in err
    monkeypatch.setattr(job.Job, "step", None, raising=False)
    code, err = train(capsys, "word2vec", text, tmp_path / "x.vec")
    assert code == 0
    assert (tmp_path / "x.vec").read_bytes() == (tmp_path / "whole.vec").read_bytes()


def test_a_fasttext_model_is_written_whole(tmp_path, capsys, text):
    for name in ("model.bin", "model.vec", "model.glove.gz"):
        assert train(capsys, "fasttext", text, tmp_path / name)[0] == 0
    model = formats.read_fasttext(tmp_path / "model.bin")
    vectors = formats.read_vectors(tmp_path / "model.vec")
    assert model.words == vectors.words and model.inputs.shape == (18 + 50, 8)
    assert_close(model.word_vectors().vectors, vectors.vectors, atol=1e-6)
    assert formats.read_vectors(tmp_path / "model.glove.gz").words == vectors.words
    assert model.word_vector("3ab").any() and model.outputs.any()


def test_training_goes_on_from_vectors(tmp_path, capsys, text):
    new = write(tmp_path / "new", text.read_bytes() + b"\nnew 3a new 3b new\n")
    assert train(capsys, "word2vec", text, tmp_path / "old.vec")[0] == 0
    code, _ = train(capsys, "word2vec", new, tmp_path / "new.vec", "--start", tmp_path / "old.vec",
                    "--lr", 1e-9)
    old, now = (formats.read_vectors(tmp_path / f"{n}.vec") for n in ("old", "new"))
    assert code == 0 and set(now.words) == {*old.words, "new"}
    assert_close(np.stack([now[w] for w in old.words]), old.vectors, atol=1e-6)
    code, err = train(capsys, "word2vec", new, tmp_path / "x.vec", "--dim", 9, "--start",
                      tmp_path / "old.vec")
    assert code == 1 and "--start: its vectors have 8 numbers, --dim is 9" in err


@pytest.mark.parametrize("kind, more, words", [
    ("word2vec", ("--dim", 0), "--dim: expected 1 or more, got 0"),
    ("word2vec", ("--negative", 0), "--negative: expected 1"),
    ("word2vec", ("--window", 0), "--window: expected 1"),
    ("word2vec", ("--lr", "nan"), "--lr: expected more than 0"),
    ("word2vec", ("--sample", -1), "--sample: expected 0"),
    ("word2vec", ("--threads", 10_000), "--threads: this machine has"),
    ("word2vec", ("--min-count", 1000), "lower --min-count"),
    ("word2vec", ("--lr", 1e30), "--lr: after block"),
    ("glove", ("--x-max", "nan"), "--x-max"), ("glove", ("--alpha", 0), "--alpha"),
    ("fasttext", ("--buckets", 0), "--buckets: expected 1"),
    ("fasttext", ("--min-n", 5, "--max-n", 4), "--min-n"),
    ("word2vec", ("--corpus", "nowhere"), "--corpus: there is no file nowhere"),
    ("word2vec", ("--out", "nowhere/x.vec"), "--out: there is no folder nowhere"),
    ("word2vec", ("--out", "x.npy"), "the ending should be one of")])
def test_options_that_name_no_training(tmp_path, capsys, text, kind, more, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = train(capsys, kind, text, tmp_path / "x.vec", *more)
    assert code == 1 and words in err
    assert not (tmp_path / "x.vec").exists()


@pytest.mark.parametrize("content, words", [(b"", "holds no word"), (b"a a a a", "1 of its 1")])
@kinds
def test_a_corpus_without_two_words(tmp_path, capsys, kind, content, words):
    code, err = train(capsys, kind, write(tmp_path / "text", content), tmp_path / "x.vec")
    assert code == 1 and words in err
    code, err = train(capsys, kind, write(tmp_path / "text", b"a b " * 9), tmp_path / "x.vec")
    assert code == 0                                         # nothing of the failure is in the way


@kinds
def test_no_word_has_a_neighbour(tmp_path, capsys, kind):
    code, err = train(capsys, kind, write(tmp_path / "text", b"a\nb\n" * 9), tmp_path / "x.vec")
    assert code == 1 and ("no word has a neighbour" in err or "no two words stand together" in err)
