"""Makes datasets/small_bert.npz: a small BERT, trained here from scratch in under three minutes.

    python -m tests.makers.small_bert [--steps N] [--checkpoint FILE] [--out FILE]

Prints what it has learned of addresses that it never saw, beside the unigram model.  With two
threads and other BLAS libraries the last digits differ from run to run, and so does the file.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np

from kernels import twin
from primer.ch14_bert_vocabulary import train_wordpiece
from primer.ch14_bert_wordpiece import WordPiece
from primer.training import small_bert

PIECES, STEPS, HEADS = 4000, 1500, 4
FILE = Path(__file__).parents[2] / "datasets/small_bert.npz"


def make(steps=STEPS, file=None, **more):
    """Train, from a checkpoint if there is one -> SmallBert, what judge says, seconds of training;
    more: of small_bert.start."""
    fast = twin("ch14_bert_layers", "numba")
    texts, owners = small_bert.addresses()
    wordpiece = WordPiece(train_wordpiece(texts, PIECES))
    sentences = small_bert.cut_sentences(wordpiece, texts, owners)
    held_out = small_bert.cut_sentences(wordpiece, *small_bert.addresses(held_out=True))
    warm = small_bert.start(sentences, **more, epochs=1)
    small_bert.pretrain(warm, HEADS, sentences, 2, ops=fast)
    begun = time.perf_counter()                          # all kernels are compiled
    P = small_bert.start(sentences, **more)
    history = small_bert.pretrain(P, HEADS, sentences, steps, file=file, ops=fast)
    seconds = time.perf_counter() - begun
    n = small_bert.AVERAGED
    means = history[:len(history) // n * n].reshape(-1, n, 2).mean(axis=1)        # (steps / 20, 2)
    model = small_bert.SmallBert(P, HEADS, wordpiece, means)
    p = small_bert.frequencies(sentences)
    return model, small_bert.judge(P, HEADS, held_out, p, ops=fast), seconds


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--checkpoint", type=Path, help="a file from which it goes on")
    options.add_argument("--out", type=Path, default=FILE)
    options = options.parse_args()
    model, found, seconds = make(options.steps, options.checkpoint)
    small_bert.save(options.out, model)
    numbers = sum(x.size for x in model.P.values())
    print(json.dumps({**found, "steps": options.steps, "numbers": numbers,
                      "seconds": round(seconds, 1), "numpy": np.__version__}))


if __name__ == "__main__":
    main()
