"""Counts and steps of Stanford's GloVe 1.2, frozen.  Run with `cooccur` and `glove` on the PATH:

    python tests/parity/ch11_glove.py          writes ch11_glove.npz beside itself

The programs get passages of the addresses, one a line; one thread, so that the steps have an
order,
that of the file of counts, which is ours to choose.  cooccur gets a max-product so small that it
also sorts: without anything to sort it doubles its first count (it reads the first record once more
for an empty file).  Costs are printed with six decimals, vectors and sums of squares are binary.
"""
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus

RECORD = np.dtype([("row", "<i4"), ("column", "<i4"), ("count", "<f8")])
WINDOW, D, EPOCHS, X_MAX = 4, 5, 4, 10.0


def run(program, *options, **more):
    """A program of Stanford's -> what it did."""
    if not shutil.which(program):
        raise SystemExit(f"{program} is not on the PATH: build github.com/stanfordnlp/GloVe "
                         "with make, and add its folder build")
    return subprocess.run([program, *map(str, options)], check=True, capture_output=True, **more)


def main():
    texts, about = data.sotu_paragraphs()
    texts = [t for t, a in zip(texts, about, strict=True) if a["year"] == 1961][:30]
    vocabulary, counts = count_vocabulary(texts, 5)
    tokens, starts = encode_corpus(texts, vocabulary)
    words, V = list(vocabulary), len(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "vocab.txt").write_text("".join(f"{w} {c}\n" for w, c in zip(words, counts,
                                                                             strict=True)))
        lines = "".join(" ".join(words[t] for t in tokens[a:b]) + "\n"
                        for a, b in zip(starts, starts[1:], strict=False))
        found = run("cooccur", "-vocab-file", here / "vocab.txt", "-window-size", WINDOW,
                    "-max-product", 200, "-overflow-file", here / "overflow", input=lines.encode())
        X = np.frombuffer(found.stdout, RECORD)
        rng = np.random.default_rng(11)
        order = rng.permutation(X.size)
        X[order].tofile(here / "shuffled.bin")
        start = rng.uniform(-0.5 / D, 0.5 / D, (2, V, D + 1))
        start.tofile(here / "start.bin")
        log = run("glove", "-input-file", here / "shuffled.bin", "-vocab-file", here / "vocab.txt",
                  "-save-file", here / "end", "-gradsq-file", here / "gradsq", "-binary", 1,
                  "-vector-size", D, "-threads", 1, "-iter", EPOCHS, "-x-max", X_MAX,
                  "-load-init-param", 1, "-init-param-file", here / "start.bin").stderr.decode()
        end, gradsq = (np.fromfile(here / f"{name}.bin").reshape(2, V, D + 1)
                       for name in ("end", "gradsq"))
    np.savez_compressed(
        Path(__file__).with_suffix(".npz"), words=np.array(words), tokens=tokens, starts=starts,
        window=WINDOW, x_max=X_MAX, rows=X["row"] - 1, columns=X["column"] - 1, counts=X["count"],
        order=order, start=start, end=end, gradsq=gradsq,
        costs=np.array([float(c) for c in re.findall(r"cost: ([\d.]+)", log)]))


if __name__ == "__main__":
    main()
