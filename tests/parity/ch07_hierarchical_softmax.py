"""Freeze word2vec.c's tree and gensim's steps -> tests/parity/ch07_hierarchical_softmax.npz.

    python -m tests.parity.ch07_hierarchical_softmax word2vec.c        needs gcc and gensim

word2vec.c is the C program's source (github.com/tmikolov/word2vec, commit 20c129a);
it is compiled as it stands, with a main that gives it counts and prints CreateBinaryTree's codes
and points.  Keys: counts, c_indptr, c_nodes, c_codes.

gensim 4 trains with hs=1 on documents of two words, so that each place has one neighbour and the
batch of a place is one pair, as its own loop's; one thread, one epoch, a rate that does not fall.
It takes sigma from a table of 1000 for |s| < 6, so its vectors are close, not equal.  Keys:
gensim_counts, gensim_lengths (of the State of the Union's words), and of the small model
gensim_indptr, gensim_nodes, gensim_codes, tokens, rates, W, N before, skipgram_*, cbow_* after.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from primer import data
from primer.ch06_word2vec import count_vocabulary

HARNESS = """
#define main program
#include "%s"
#undef main
int main(void) {
  scanf("%%lld", &vocab_size);
  vocab = calloc(vocab_size, sizeof(struct vocab_word));
  for (int a = 0; a < vocab_size; a++) {
    scanf("%%lld", &vocab[a].cn);
    vocab[a].code = calloc(MAX_CODE_LENGTH, 1);
    vocab[a].point = calloc(MAX_CODE_LENGTH, sizeof(int));
  }
  CreateBinaryTree();
  for (int a = 0; a < vocab_size; a++) {
    for (int b = 0; b < vocab[a].codelen; b++)
      printf("%%d:%%d ", vocab[a].point[b], vocab[a].code[b]);
    printf("\\n");
  }
}
"""


def as_csr(paths):
    """Lists of (node, turn) -> indptr, nodes, codes."""
    turns = np.array([turn for path in paths for turn in path]).reshape(-1, 2)
    return (np.cumsum([0, *map(len, paths)]), turns[:, 0].astype(np.int32),
            turns[:, 1].astype(np.int8))


def tree_of_the_program(source, counts):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tree.c").write_text(HARNESS % Path(source).resolve())
        subprocess.run(["gcc", "-O1", "-w", "tree.c", "-o", "tree", "-lm", "-lpthread"], cwd=folder,
                       check=True)
        text = " ".join(map(str, [len(counts), *counts.tolist()]))
        lines = subprocess.run([Path(folder) / "tree"], input=text, capture_output=True, text=True,
                               check=True).stdout.splitlines()
    return as_csr([[tuple(map(int, x.split(":"))) for x in line.split()] for line in lines])


def gensim_model(documents, **more):
    from gensim.models import Word2Vec
    model = Word2Vec(vector_size=6, window=1, min_count=1, hs=1, negative=0, sample=0, workers=1,
                     alpha=0.1, min_alpha=0.1, sorted_vocab=1, seed=7, **more)
    model.build_vocab(documents)
    return model


def small_model(sg):
    """One epoch over documents of two words -> dict."""
    rng = np.random.default_rng(7)
    documents = [[f"w{i}" for i in rng.choice(12, 2, replace=False, p=np.arange(1, 13) / 78)]
                 for _ in range(60)]
    model = gensim_model(documents, sg=sg)
    V = len(model.wv)
    W, N = (rng.normal(0, 0.4, (rows, 6)).astype(np.float32) for rows in (V, V - 1))
    model.wv.vectors[:], model.syn1[:V - 1] = W, N
    model.train(documents, total_examples=len(documents), epochs=1)
    paths = [list(zip(model.wv.get_vecattr(w, "point").tolist(),
                      model.wv.get_vecattr(w, "code").tolist(), strict=True))
             for w in model.wv.index_to_key]
    tokens = np.array([model.wv.key_to_index[w] for d in documents for w in d], np.int64)
    name = "skipgram" if sg else "cbow"
    return dict(zip(("gensim_indptr", "gensim_nodes", "gensim_codes"), as_csr(paths), strict=True)
                ) | {"tokens": tokens, "rates": np.full(len(tokens), 0.1, np.float32), "W": W,
                     "N": N, f"{name}_W": model.wv.vectors, f"{name}_N": model.syn1[:V - 1]}


def main(source):
    import gensim

    texts = data.sotu_paragraphs()[0][:3000]
    _, counts = count_vocabulary(texts, 2)
    keys = {"counts": counts, "version": gensim.__version__}
    keys |= dict(zip(("c_indptr", "c_nodes", "c_codes"), tree_of_the_program(source, counts),
                     strict=True))
    model = gensim_model([re.findall(r"\w+", t.lower()) for t in texts], sg=1)
    words = model.wv.index_to_key
    keys |= {"gensim_counts": np.array([model.wv.get_vecattr(w, "count") for w in words]),
             "gensim_lengths": np.array([len(model.wv.get_vecattr(w, "code")) for w in words],
                                        np.int8)}
    keys |= small_model(1) | small_model(0)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **keys)
    print(f"{path.name}: {len(counts)} words, {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1])
