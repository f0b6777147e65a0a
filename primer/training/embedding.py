"""`python -m primer embed` and `search --model`: texts as the vectors of a sentence encoder.

Texts go through in batches of like length, so that few places are padding.  The vectors grow in a
file beside the result, and a checkpoint says how far they are: after an interruption the same
command goes on.
"""
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import kernels
from primer import data
from primer.ch01_geometry import nearest
from primer.ch05_bm25 import BM25
from primer.ch14_bert_encoder import encode
from primer.ch14_bert_wordpiece import batch
from primer.fetch import locked, sha256
from primer.formats.encoders import read_encoder
from primer.formats.files import opened, replaced
from primer.training.job import Interrupted, Stop, claim, release

TOKENS = 1024                      # of a batch, with its padding: its numbers stay in the cache
BLOCK = 1024                       # texts between two checkpoints
RANKED = 1000                      # documents that BM25 ranks, for comparison
SHOWN = 220                        # letters of a document


# ---- vectors ------------------------------------------------------------------------------------

def batches(lengths, tokens=TOKENS):
    """Texts of like length together, longest first, at most `tokens` places with the padding, or
    one text  ->  list of index arrays."""
    order, out, start = np.argsort(-np.asarray(lengths), kind="stable"), [], 0    # (n,)
    while start < len(order):
        rows = max(1, tokens // max(lengths[order[start]], 1))
        out.append(order[start:start + rows])
        start += rows
    return out


def vectors_of(encoder, texts, ops, bar=None, tokens=TOKENS):
    """Each text's vector of length 1: the mean over its tokens  ->  (n, d) float32.

    ops: chapter 14's layers, or a twin of them.  What is beyond encoder.longest tokens has no say.
    """
    lists = [encoder.tokenizer.encode(text, encoder.longest) for text in texts]
    lengths = np.array([len(ids) for ids in lists], np.int64)                     # (n,)
    out = np.empty((len(texts), encoder.d), np.float32)                           # (n, d)
    for chosen in batches(lengths, tokens):
        ids, mask = batch([lists[i] for i in chosen], encoder.tokenizer.ids["[PAD]"])
        H, _ = encode(encoder.P, encoder.heads, ids, None if mask.all() else mask, ops=ops,
                      keep=False)                                                 # (B, T, d)
        sums = np.einsum("btd,bt->bd", H, mask.astype(H.dtype))                   # (B, d)
        out[chosen] = sums / np.sqrt(np.einsum("bd,bd->b", sums, sums))[:, None]
        if bar is not None:
            bar.update(len(chosen))
    return out


def model_folder(name):
    """minilm, once fetched, or a folder as primer/formats/encoders.py reads it  ->  Path.
    LookupError for another name, DataError if minilm is not fetched."""
    if not Path(name).is_dir() and name != "minilm":
        raise LookupError(f"--model: {name!r} is neither minilm nor a folder")
    return Path(name) if Path(name).is_dir() else data.path("minilm")


def weights_of(name):
    """The checksum of a model's weights  ->  str.  Errors as model_folder."""
    return sha256(model_folder(name) / "model.safetensors")


def write_vectors(model, texts, out, about, backend):
    """The vectors of texts as a file, .npy, which appears when it is whole  ->  how many texts were
    cut.  Raises Interrupted when asked to stop, ValueError if another run has begun there."""
    folder, encoder = Path(f"{out}.run"), read_encoder(model_folder(model))
    claim(folder, about)
    vectors, done = _begin(folder, (len(texts), encoder.d))
    ops = kernels.twin("ch14_bert_layers", backend)
    with Stop() as stop, tqdm(total=len(texts), initial=done, desc="texts", unit="", leave=False,
                              disable=None) as bar:
        while done < len(texts):
            part = texts[done:done + BLOCK]
            vectors[done:done + BLOCK] = vectors_of(encoder, part, ops, bar)
            done += len(part)
            vectors.flush()
            with replaced(folder / "checkpoint.npz") as file:
                np.savez(file, place=done)
            if stop.asked and done < len(texts):
                raise Interrupted(f"stopped after {done} of {len(texts)} texts; the same command "
                                  "goes on from there")
    cut = sum(len(encoder.tokenizer.tokens(text)) > encoder.longest - 2 for text in texts)
    del vectors                                          # closes the file
    os.replace(folder / "vectors.npy", out)
    release(folder)
    return cut


def _begin(folder, shape):
    """The file of vectors, made or taken up again  ->  (n, d) float32 on the disk, texts done."""
    file, mark = folder / "vectors.npy", folder / "checkpoint.npz"
    if mark.exists() and file.exists():
        with np.load(mark, allow_pickle=False) as stored:
            done = int(stored["place"])
        vectors = np.load(file, mmap_mode="r+", allow_pickle=False)
        if vectors.shape == shape:
            return vectors, done
    return np.lib.format.open_memmap(file, "w+", np.float32, shape), 0


# ---- embed --------------------------------------------------------------------------------------

def add_arguments(command):
    """The options of `embed` on an argparse parser."""
    command.add_argument("--model", default="minilm", metavar="NAME-OR-FOLDER",
                         help="minilm, once fetched (default), or a folder with such a model")
    command.add_argument("--input", required=True, metavar="FILE",
                         help="UTF-8 text, one text a line; .gz too")
    command.add_argument("--out", required=True, metavar="FILE.npy")
    command.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    command.set_defaults(run=embed)


def read_lines(path):
    """One text a line  ->  list of str.  ValueError, with the line, for an empty one or one that is
    not UTF-8, FileNotFoundError."""
    with opened(path) as file:
        lines = file.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts = []
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        try:
            texts.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise ValueError(f"--input: {path}, line {number} is not UTF-8 ({error.reason}); "
                             "convert it first") from error
        if not texts[-1]:
            raise ValueError(f"--input: {path}, line {number} is empty; expected one text a line")
    if not texts:
        raise ValueError(f"--input: {path} holds no text")
    return texts


def embed(options):
    """The command: a vector for each line."""
    out = Path(options.out)
    if out.suffix != ".npy":
        raise ValueError(f"--out: expected a name that ends in .npy, got {options.out}")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {out.parent}")
    texts = read_lines(options.input)
    about = {"texts": _checksum(texts), "weights": weights_of(options.model)}
    cut = write_vectors(options.model, texts, out, about, options.backend)
    shape = np.load(out, mmap_mode="r").shape
    print(f"{out}: {shape[0]} vectors of {shape[1]} numbers, each of length 1"
          + (f"; {cut} texts were longer than the model reads, and cut" if cut else ""))


def _checksum(texts):
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


# ---- search -------------------------------------------------------------------------------------

def corpus_vectors(model, documents, backend):
    """The vectors of a corpus, computed once and then kept in the cache  ->  (n, d) float32."""
    about = {"texts": _checksum(documents), "weights": weights_of(model)}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    file = data.cache() / f"vectors-{name}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        with locked(f"{file}.lock", True):
            if not file.exists():
                print(f"the vectors of {len(documents):,} documents are computed once, and kept in "
                      f"{file}", file=sys.stderr, flush=True)
                write_vectors(model, documents, file, about, backend)
    return np.load(file, allow_pickle=False)


def search(options, documents, labels):
    """The documents whose vectors have the largest cosines with the query's; BM25's rank beside."""
    if not options.query.strip():
        raise ValueError("query: expected a word or more, got none")
    if options.k < 1:
        raise ValueError(f"k: expected at least 1, got {options.k}")
    vectors = corpus_vectors(options.model, documents, options.backend)           # (n, d)
    encoder = read_encoder(model_folder(options.model))
    ops = kernels.twin("ch14_bert_layers", options.backend)
    found, cosines = nearest(vectors_of(encoder, [options.query], ops), vectors,
                             min(options.k, len(documents)))                      # (1, k)
    by_words = ranks_by_words(options.query, documents, options.backend)
    hits = [{"rank": rank, "score": round(float(score), 6), "document": labels[d],
             "text": documents[d], "bm25_rank": by_words.get(int(d))}
            for rank, (d, score) in enumerate(zip(found[0], cosines[0], strict=True), 1)]
    if options.json:
        print(json.dumps(hits, indent=1, ensure_ascii=False))
    else:
        show(hits, len(documents), options)


def ranks_by_words(query, documents, backend):
    """What BM25 makes of it: the first RANKED documents  ->  dict document: rank from 1."""
    bow, bm25 = (kernels.twin(c, backend) for c in ("ch03_bow", "ch05_bm25"))
    found = BM25(documents, bow=bow, bm25=bm25).search([query], min(RANKED, len(documents)))[0][0]
    return {int(d): rank for rank, d in enumerate(found, 1) if d >= 0}


def show(hits, n, options):
    """Print them: cosine, document, BM25's rank, how it begins."""
    print(f"{n} documents of {options.corpus!r}, {options.model}, {options.backend} back end")
    for hit in hits:
        words = (f"BM25: rank {hit['bm25_rank']}" if hit["bm25_rank"] else
                 f"not among BM25's first {min(RANKED, n)}")
        print(f"\n{hit['rank']:>3}  {hit['score']:6.4f}  {hit['document']}   [{words}]")
        text = " ".join(hit["text"].split())
        print(f"     {text if len(text) <= SHOWN else text[:SHOWN].rpartition(' ')[0] + ' ...'}")
