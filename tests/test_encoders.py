"""Sentence encoders: files of sentence-transformers read and run, and the commands that use them.

A BERT of two layers, drawn at random and saved by sentence-transformers, lies in tests/parity; the
tests of all-MiniLM-L6-v2 itself run where it was fetched, and are printed skips elsewhere.
"""
import json
import os
import signal
import struct
import sys

import numpy as np
import pytest
from conftest import assert_close, every_backend, required
from hypothesis import given
from hypothesis import strategies as st

from primer import ch14_bert_layers, data
from primer.__main__ import main
from primer.formats import encoders
from primer.formats.encoders import expected_shapes, read_bert, read_encoder, read_tensors
from primer.training import embedding
from primer.training.embedding import batches, vectors_of
from tests.parity import ch14_bert_wordpiece
from tests.parity import encoders as parity

safetensors = pytest.importorskip("safetensors.numpy", reason="pip install -e '.[minilm]'")
FROZEN = np.load(data.DATASETS.parent / "tests/parity/encoders.npz", allow_pickle=False)
LEAST = 0.99999                        # cosine with sentence-transformers
TEXTS = parity.tiny_texts()


def tiny(folder):
    """Write the frozen files -> the folder."""
    for key in FROZEN:
        if key.startswith("file/"):
            file = folder / key.removeprefix("file/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes(FROZEN[key]))
    return folder


@pytest.fixture
def model(tmp_path):
    return tiny(tmp_path / "model")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return read_encoder(tiny(tmp_path_factory.mktemp("tiny")))


def lowest_cosine(own, other):
    """NaN passes no comparison."""
    assert own.shape == other.shape and own.dtype == np.float32
    lengths = np.linalg.norm(other, axis=1) * np.linalg.norm(own, axis=1)
    return (np.einsum("nd,nd->n", own.astype(np.float64), other) / lengths).min()


# ---- parity -------------------------------------------------------------------------------------


@every_backend("ch14_bert_layers", "self_attention", "add_layer_norm", "bias_gelu", orders=())
def test_vectors_of_sentence_transformers(encoder, backend):
    own = vectors_of(encoder, TEXTS, backend)
    assert_close(own, FROZEN["tiny"], rtol=0, atol=2e-5)
    assert lowest_cosine(own, FROZEN["tiny"]) > LEAST
    assert_close(np.linalg.norm(own, axis=1), np.ones(len(own), np.float32), rtol=1e-6)


def test_the_sizes_of_the_frozen_model(encoder):
    about = parity.TINY
    assert encoder.heads == about["num_attention_heads"] and encoder.d == about["hidden_size"]
    assert encoder.longest == parity.TINY_LONGEST
    lists = [encoder.tokenizer.encode(t, encoder.longest) for t in TEXTS]
    assert {2, encoder.longest} <= set(map(len, lists)), "an empty text, and one that is cut"


def wrong_models():
    """One mistake each: what it does to the weights, or to the encoder."""
    def swapped(P, name, other):
        P[name], P[other] = P[other], P[name]

    def turned(P):
        P["0.qkv"] = np.concatenate([m.T for m in np.split(P["0.qkv"], 3, axis=1)], axis=1)

    return {"a matrix of attention not transposed": turned,
            "scales of the two norms": lambda P: swapped(P, "1.scale1", "1.scale2"),
            "no segments": lambda P: P["segments"].fill(0),
            "positions from 1": lambda P: swapped(P, "positions", "tokens") or P.update(
                tokens=P["positions"], positions=np.roll(P["tokens"], -1, axis=0)),
            "no bias of the up matrix": lambda P: P["0.up_bias"].fill(0),
            "keys for queries": lambda P: P.update({"0.qkv": np.roll(P["0.qkv"], 16, axis=1)})}


@pytest.mark.parametrize("name", wrong_models())
def test_the_comparison_can_fail(model, name):
    encoder = read_encoder(model)
    wrong_models()[name](encoder.P)
    own = vectors_of(encoder, TEXTS, ch14_bert_layers)
    assert lowest_cosine(own, FROZEN["tiny"]) < LEAST


def test_other_mistakes_fail_too(encoder, monkeypatch):
    encode, first = embedding.encode, FROZEN["tiny"]

    def cls(*arguments, **keywords):
        H, cache = encode(*arguments, **keywords)
        return np.repeat(H[:, :1], H.shape[1], axis=1), cache

    def unmasked(P, heads, ids, mask=None, **keywords):
        return encode(P, heads, ids, None, **keywords)
    for wrong in (cls, unmasked):
        monkeypatch.setattr(embedding, "encode", wrong)
        assert lowest_cosine(vectors_of(encoder, TEXTS, ch14_bert_layers), first) < LEAST
    monkeypatch.setattr(embedding, "encode", encode)
    monkeypatch.setattr(encoder, "longest", encoder.longest - 1)
    assert lowest_cosine(vectors_of(encoder, TEXTS, ch14_bert_layers), first) < LEAST


@pytest.fixture(scope="module")
def minilm():
    try:
        return read_encoder(data.path("minilm"))
    except data.DataError as error:
        if required("minilm"):
            raise
        pytest.skip(str(error))


def test_minilm_as_sentence_transformers_has_it(minilm):
    """1,000 sentences of all lengths and the texts in many scripts: some in full, all projected."""
    import kernels
    texts = ch14_bert_wordpiece.sentences() + ch14_bert_wordpiece.HARD
    own = vectors_of(minilm, texts, kernels.twin("ch14_bert_layers", "numba"))
    some = FROZEN["minilm"].astype(np.float32)
    assert lowest_cosine(own[::parity.EVERY], some) > LEAST
    assert_close(own @ parity.projection(), FROZEN["minilm_projected"], rtol=0, atol=5e-5)


def test_the_projection_shows_a_wrong_vector():
    """A cosine of 0.99999 or less, in any direction, is more than the tolerance in one column."""
    rng, R = np.random.default_rng(0), parity.projection()
    for x in rng.standard_normal((50, 384)):
        x /= np.linalg.norm(x)
        away = rng.standard_normal(384)
        away -= away @ x * x
        y = x + np.sqrt(2e-5) * away / np.linalg.norm(away)
        y /= np.linalg.norm(y)
        assert x @ y < LEAST + 1e-7 and np.abs((y - x) @ R).max() > 5e-5


# ---- files --------------------------------------------------------------------------------------


def changed(folder, **tensors):
    """Write the weights again with other tensors, None for those to leave out -> the file."""
    file = folder / "model.safetensors"
    old = safetensors.load_file(file)
    old.update({name.replace("__", "."): x for name, x in tensors.items()})
    safetensors.save_file({n: x for n, x in old.items() if x is not None}, file)
    return file


def test_all_missing_and_misshapen_tensors_are_named(model):
    about = encoders.config(model)
    half = "encoder__layer__1__output__dense__weight"
    changed(model, **{
        "embeddings__LayerNorm__bias": None, half: np.zeros((24, 16), np.float32),
        "encoder__layer__0__attention__self__key__bias": np.zeros(16, np.int64),
        "encoder__layer__0__intermediate__dense__bias": np.full(24, np.nan, np.float32)})
    with pytest.raises(ValueError) as caught:
        read_bert(model / "model.safetensors", about)
    for words in ("embeddings.LayerNorm.bias is missing",
                  "layer.1.output.dense.weight has shape (24, 16) in place of (16, 24)",
                  "layer.0.attention.self.key.bias has numbers of kind int64",
                  "layer.0.intermediate.dense.bias has NaN"):
        assert words in str(caught.value)
    assert str(caught.value).count("\n") == 4


def test_every_tensor_is_missed(model):
    about = encoders.config(model)
    whole = safetensors.load_file(model / "model.safetensors")
    assert set(expected_shapes(about)) <= set(whole)
    for name, shape in expected_shapes(about).items():
        assert whole[name].shape == shape
        safetensors.save_file({n: x for n, x in whole.items() if n != name},
                              model / "model.safetensors")
        with pytest.raises(ValueError, match=f"{name} is missing"):
            read_bert(model / "model.safetensors", about)


def test_halves_and_a_prefix_are_read(model):
    """float16, and names that begin with "bert.", as BertForMaskedLM has them."""
    want = read_encoder(model).P
    old = safetensors.load_file(model / "model.safetensors")
    safetensors.save_file({f"bert.{n}": x.astype(np.float16) for n, x in old.items()},
                          model / "model.safetensors")
    own = read_encoder(model).P
    assert list(own) == list(want)
    for name, x in own.items():
        assert x.flags.c_contiguous
        assert_close(x, want[name].astype(np.float16).astype(np.float32))


def tensor_ends(content):
    """-> dict name: byte after its last one, by hand."""
    length, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    return {name: 8 + length + about["data_offsets"][1] for name, about in header.items()
            if name != "__metadata__"}


def test_a_file_cut_off_anywhere(model):
    file = model / "model.safetensors"
    content = file.read_bytes()
    ends = tensor_ends(content)
    for size in [0, 5, 8, 30, *range(40, len(content), 97), len(content) - 1]:
        file.write_bytes(content[:size])
        with pytest.raises(ValueError) as caught:
            read_tensors(file)
        assert str(file) in str(caught.value)
        if size >= 8 + struct.unpack("<Q", content[:8])[0]:
            lost = {name for name, end in ends.items() if end > size}
            named = set(str(caught.value).partition("not whole: ")[2].split(", "))
            assert lost == named
    file.write_bytes(content)
    assert set(read_tensors(file)) == set(ends)


@pytest.mark.parametrize("content", [
    b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]", b"\x04\0\0\0\0\0\0\0{\"a\"", b"PK\x03\x04" + b"x" * 99,
    b'\x0b\0\0\0\0\0\0\0{"a": [1] }', b"\x80\x04pickle" + b"." * 50])
def test_files_that_are_no_safetensors(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="x.safetensors"):
        read_tensors(tmp_path / "x.safetensors")


def test_without_the_library(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(RuntimeError, match=r"pip install -e '\.\[minilm\]'"):
        read_encoder(model)


def edited(file, **changes):
    """A JSON file with other values; a dict changes those of the dict there."""
    about = json.loads(file.read_text("utf-8"))
    for key, value in changes.items():
        if isinstance(value, dict):
            about[key].update(value)
        else:
            about[key] = value
    file.write_text(json.dumps(about), "utf-8")


@pytest.mark.parametrize("name, changes, words", [
    ("config.json", {"hidden_act": "relu"}, "hidden_act 'relu' in place of 'gelu'"),
    ("config.json", {"model_type": "roberta"}, "model_type 'roberta'"),
    ("config.json", {"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-05"),
    ("config.json", {"hidden_size": None, "vocab_size": -3}, "vocab_size -3 .*hidden_size None"),
    ("config.json", {"num_attention_heads": 3}, "16 is no multiple of num_attention_heads 3"),
    ("config.json", {"vocab_size": 7}, "config.json 7"),
    ("config.json", {"num_hidden_layers": 3}, "layer.2.attention.self.query.weight is missing"),
    ("tokenizer.json", {"model": {"type": "BPE"}}, "not the WordPiece tokenizer of BERT"),
    ("tokenizer.json", {"normalizer": {"lowercase": None}}, "not the WordPiece"),
    ("tokenizer.json", {"model": {"vocab": {"a": 0, "b": 2}}}, "are not 0 to"),
])
def test_a_model_of_another_kind(model, name, changes, words):
    edited(model / name, **changes)
    with pytest.raises(ValueError, match=words):
        read_encoder(model)


@pytest.mark.parametrize("about", [
    {"pooling_mode": "cls"}, {}, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
    {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}])
def test_another_pooling_is_refused(model, about):
    (model / "1_Pooling/config.json").write_text(json.dumps(about), "utf-8")
    with pytest.raises(ValueError, match="the mean of the tokens alone"):
        read_encoder(model)


def test_older_folders(model):
    """As all-MiniLM-L6-v2 is: a flag for each pooling, the longest text in a file of its own."""
    (model / "1_Pooling/config.json").write_text(json.dumps(
        {"word_embedding_dimension": 16, "pooling_mode_cls_token": False,
         "pooling_mode_mean_tokens": True}), "utf-8")
    (model / "sentence_bert_config.json").write_text('{"max_seq_length": 9}', "utf-8")
    assert read_encoder(model).longest == 9
    (model / "sentence_bert_config.json").write_text('{"max_seq_length": 512}', "utf-8")
    assert read_encoder(model).longest == parity.TINY["max_position_embeddings"]
    (model / "sentence_bert_config.json").write_text("{}", "utf-8")
    (model / "tokenizer_config.json").unlink()
    assert read_encoder(model).longest == parity.TINY["max_position_embeddings"]


@pytest.mark.parametrize("name", [k.removeprefix("file/") for k in FROZEN if "file/" in k
                                  and "tokenizer_config" not in k])
def test_missing_and_broken_files(model, name):
    (model / name).write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=name.rpartition("/")[2]):
        read_encoder(model)
    (model / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.rpartition("/")[2]):
        read_encoder(model)


# ---- batches ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 600))
def test_batches_hold_each_text_once(lengths, tokens):
    found = batches(lengths, tokens)
    assert sorted(i for rows in found for i in rows) == list(range(len(lengths)))
    for rows in found:
        own = [lengths[i] for i in rows]
        assert own == sorted(own, reverse=True)
        assert len(own) == 1 or len(own) * own[0] <= tokens


def test_batches_change_nothing(encoder):
    one = vectors_of(encoder, TEXTS, ch14_bert_layers, tokens=1)
    for tokens in (40, 10_000):
        assert_close(vectors_of(encoder, TEXTS, ch14_bert_layers, tokens=tokens), one, rtol=0,
                     atol=1e-6)
    assert vectors_of(encoder, [], ch14_bert_layers).shape == (0, 16)


# ---- the commands -------------------------------------------------------------------------------


def run(capsys, *arguments):
    """-> exit code, standard output, standard error."""
    code = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


LINES = [t for t in TEXTS if t.strip() and "\n" not in t and "\r" not in t and t == t.strip()]


def test_embed(capsys, model, tmp_path, encoder):
    (tmp_path / "in.txt").write_bytes(("\ufeff" + "\r\n".join(LINES)).encode())
    code, out, err = run(capsys, "embed", "--model", model, "--input", tmp_path / "in.txt", "--out",
                         tmp_path / "out.npy", "--backend", "numpy")
    assert code == 0 and f"{len(LINES)} vectors of 16 numbers" in out, err
    assert "were longer than the model reads" in out
    own = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert_close(own, vectors_of(encoder, LINES, ch14_bert_layers), rtol=0, atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "model", "out.npy"]


@pytest.mark.parametrize("content, words", [
    (b"a\n\nb\n", "line 2 is empty"), (b"a\n \t\n", "line 2 is empty"), (b"", "holds no text"),
    (b"a\nb\xff\n", "line 2 is not UTF-8")])
def test_embed_refuses_texts(capsys, model, tmp_path, content, words):
    (tmp_path / "in.txt").write_bytes(content)
    code, out, err = run(capsys, "embed", "--model", model, "--input", tmp_path / "in.txt",
                         "--out", tmp_path / "out.npy")
    assert code == 1 and words in err and not out and not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("changes, words", [
    ({"--out": "x.vec"}, "ends in .npy"), ({"--out": "no/such/x.npy"}, "no folder no/such"),
    ({"--input": "no.txt"}, "no.txt"), ({"--model": "bert"}, "'bert' is neither minilm nor"),
    ({"--model": "minilm"}, "python -m primer data get minilm")])
def test_embed_refuses_options(capsys, model, tmp_path, monkeypatch, changes, words):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("a text")
    options = {"--model": model, "--input": "in.txt", "--out": "x.npy"} | changes
    code, out, err = run(capsys, "embed", *(x for pair in options.items() for x in pair))
    assert code == 1 and words in err and not out


def test_an_interrupted_embed_goes_on(capsys, model, tmp_path, monkeypatch):
    """Ctrl-C in the second block of three: the same command does the rest, with the same result."""
    monkeypatch.setattr(embedding, "BLOCK", 5)
    (tmp_path / "in.txt").write_text("\n".join(LINES[:13]), "utf-8")
    arguments = ["embed", "--model", model, "--input", tmp_path / "in.txt", "--backend", "numpy",
                 "--out"]
    code, _, err = run(capsys, *arguments, tmp_path / "whole.npy")
    assert code == 0, err
    seen, own = [], embedding.vectors_of

    def stops(encoder, texts, *rest):
        seen.append(len(texts))
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return own(encoder, texts, *rest)
    monkeypatch.setattr(embedding, "vectors_of", stops)
    code, out, err = run(capsys, *arguments, tmp_path / "out.npy")
    assert code == 130 and "stopped after 10 of 13" in err and not (tmp_path / "out.npy").exists()
    assert seen == [5, 5] and not out
    other = [*arguments]
    (tmp_path / "other.txt").write_text("one\ntwo", "utf-8")
    other[4] = tmp_path / "other.txt"
    code, _, err = run(capsys, *other, tmp_path / "out.npy")
    assert code == 1 and "other settings (texts)" in err
    code, _, err = run(capsys, *arguments, tmp_path / "out.npy")
    assert code == 0 and seen == [5, 5, 3], err
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def corpus_of(folder):
    folder.mkdir()
    for name, text in (("bank.txt", "money in the bank"), ("river.txt", "the bank of the river"),
                       ("war.txt", "the war and the army of the union")):
        (folder / name).write_text(text, "utf-8")
    return folder


def test_search_by_meaning(capsys, model, tmp_path, monkeypatch, encoder):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    texts = corpus_of(tmp_path / "texts")
    arguments = ["search", "the war", "--model", model, "--corpus", texts, "--backend", "numpy"]
    code, out, err = run(capsys, *arguments, "--json")
    hits = json.loads(out)
    assert code == 0 and [hit["rank"] for hit in hits] == [1, 2, 3], err
    assert "3 documents are computed once" in err
    documents = {"bank.txt": "money in the bank", "river.txt": "the bank of the river",
                 "war.txt": "the war and the army of the union"}
    q, *X = vectors_of(encoder, ["the war", *documents.values()], ch14_bert_layers)
    cosines = {name: float(q @ x) for name, x in zip(documents, X, strict=True)}
    assert [hit["document"] for hit in hits] == sorted(cosines, key=cosines.get, reverse=True)
    for hit in hits:
        assert list(hit) == ["rank", "score", "document", "text", "bm25_rank"]
        assert abs(hit["score"] - cosines[hit["document"]]) < 2e-6
        assert hit["text"] == documents[hit["document"]]
    assert {h["document"]: h["bm25_rank"] for h in hits} == {
        "war.txt": 1, "bank.txt": 3, "river.txt": 2}
    monkeypatch.setattr(embedding, "write_vectors", None)            # they are kept
    code, out, _ = run(capsys, *arguments, "-k", 1)
    assert code == 0 and hits[0]["text"] in out and "BM25: rank" in out
    assert f"{hits[0]['score']:.4f}" in out and hits[1]["text"] not in out


def test_a_document_without_the_words_has_no_rank(capsys, model, tmp_path, monkeypatch):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    code, out, _ = run(capsys, "search", "money", "--model", model, "--corpus",
                       corpus_of(tmp_path / "texts"), "--backend", "numpy")
    assert code == 0 and out.count("not among BM25's first 3") == 2


@pytest.mark.parametrize("arguments, words", [
    ([" "], "query: expected a word"), (["x", "-k", "0"], "k: expected at least 1"),
    (["x", "--corpus", "no/such"], "no/such"), (["x", "--model", "minilm"], "data get minilm")])
def test_search_refuses(capsys, model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    texts = corpus_of(tmp_path / "texts")
    code, out, err = run(capsys, "search", "--model", model, "--corpus", texts, *arguments)
    assert code == 1 and words in err and not out
