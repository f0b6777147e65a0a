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
from primer import formats
from primer.__main__ import main
from primer.formats import fasttext
from primer.training import corpus, run

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
            corpus.count_words(path, 2)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE", piece)
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

def job(epochs=3, calls=None, stop_at=None):
    """Three blocks an epoch; each adds what it draws to x, so that every step shows."""
    x = np.zeros(2)

    def step(epoch, block, rng):
        x[:] = 0.5 * x + rng.random(2)
        if calls is not None:
            calls.append((epoch, block))
        if stop_at == (epoch, block):
            os.kill(os.getpid(), signal.SIGINT)
        return 6.0 - epoch, 2
    return run.Job({"x": x}, [10, 10, 5], step, epochs)


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1), (2, 1)])
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, place, capsys):
    whole = job()
    history = run.run(whole, tmp_path, 7)
    assert_close(history, [3.0, 2.5, 2.0])
    (tmp_path / "checkpoint.npz").unlink()
    calls = []
    first = job(calls=calls, stop_at=place)
    with pytest.raises(run.Interrupted, match="the same command goes on"):
        run.run(first, tmp_path, 7)
    assert calls[-1] == place and "stopping after this block" in capsys.readouterr().err
    then = job(calls=calls)
    assert_close(run.run(then, tmp_path, 7), history)
    assert calls == [(e, b) for e in range(3) for b in range(3)]
    assert then.arrays["x"].tolist() == whole.arrays["x"].tolist()


def test_an_ended_run_is_not_run_again(tmp_path):
    whole, calls = job(), []
    run.run(whole, tmp_path, 7)
    again = job(calls=calls)
    assert_close(run.run(again, tmp_path, 7), [3.0, 2.5, 2.0])
    assert not calls and again.arrays["x"].tolist() == whole.arrays["x"].tolist()


def test_the_second_interrupt_stops_at_once():
    stop = run.Stop()
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
    with pytest.raises(run.Interrupted):
        run.run(job(stop_at=(1, 0)), tmp_path, 7)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left.*make room and run the same command again"):
        run.run(job(calls=calls), tmp_path, 7, every=0)
    assert calls[0] == (1, 1) and "training goes on" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.npz"]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, loss):
    bad = run.Job({}, [1], lambda *_: (loss, 1), 1)
    with pytest.raises(ValueError, match="--lr: after block 1 of epoch 1"):
        run.run(bad, tmp_path, 1)
    assert not os.listdir(tmp_path)


def test_a_folder_belongs_to_one_run(tmp_path):
    folder = tmp_path / "out.vec.run"
    run.claim(folder, {"dim": 3, "seed": 1})
    run.claim(folder, {"dim": 3, "seed": 1})
    run.claim(folder, {"dim": 4, "seed": 1})                 # nothing was trained: begin anew
    run.run(job(), folder, 7)
    with pytest.raises(ValueError, match=r"other settings \(dim, seed\).*delete the folder"):
        run.claim(folder, {"dim": 3, "seed": 2})
    run.claim(folder, {"dim": 4, "seed": 1})
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "file", b"mine")
    with pytest.raises(ValueError, match="not a run's folder"):
        run.claim(tmp_path / "mine", {"dim": 3})
    run.release(folder)
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
