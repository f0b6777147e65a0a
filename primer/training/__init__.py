"""`python -m primer train`: word vectors from a text file, with progress, checkpoints and resume.

corpus.py   the file: words counted, ids on the disk
models.py   word2vec, GloVe and fastText as arrays and a step
job.py      blocks, progress, checkpoints, interruptions

and of trained models: lookup.py and quality.py ask word vectors, embedding.py a sentence encoder
"""
import os
import sys
import time
from pathlib import Path

import numpy as np

from primer.formats import check_ending, write_vectors
from primer.training import models
from primer.training.corpus import prepare
from primer.training.job import claim, release, run

SHARED = (                           # option, type, default or None for the model's own, help
    ("dim", int, 100, "numbers a vector"),
    ("window", int, 5, "words on each side that count as context"),
    ("min-count", int, 5, "leave out words that occur less often"),
    ("epochs", int, 5, "passes over the corpus"),
    ("lr", float, None, "learning rate at the start"),
    ("threads", int, min(2, os.cpu_count() or 1),
     "threads; with 1 a seeded run is reproducible bit for bit"),
    ("seed", int, 1, "seed of all that is drawn"),
    ("checkpoint", float, 300, "seconds between two checkpoints"),
)
WORDS = (
    ("negative", int, 5, "noise words a prediction (--loss ns)"),
    ("sample", float, 1e-3, "subsample words of larger frequency; 0: none"),
)
OWN = {
    "word2vec": WORDS,
    "glove": (("x-max", float, 100, "counts from here on weigh 1"),
              ("alpha", float, 0.75, "exponent of the weighting")),
    "fasttext": (*WORDS, ("min-n", int, 3, "letters of the shortest n-grams"),
                 ("max-n", int, 6, "letters of the longest; 0: no n-grams"),
                 ("buckets", int, 2_000_000, "rows that the n-grams share")),
}
CHOICES = {"word2vec": {"arch": ("skipgram", "cbow"), "loss": ("ns", "hs", "softmax")},
           "glove": {}, "fasttext": {"arch": ("skipgram", "cbow")}}
ABOVE = {"dim": 1, "window": 1, "min-count": 1, "epochs": 1, "threads": 1, "negative": 1,
         "buckets": 1, "min-n": 1, "max-n": 0, "seed": 0, "sample": 0, "checkpoint": 0}
RATES = {("word2vec", "skipgram"): 0.025, ("word2vec", "cbow"): 0.05, ("glove", None): 0.05,
         ("fasttext", "skipgram"): 0.05, ("fasttext", "cbow"): 0.05}
NOT_THE_RUN = {"command", "run", "figures", "corpus", "out", "threads", "checkpoint", "backend"}


def add_arguments(command):
    """The options of `train` on an argparse parser."""
    kinds = command.add_subparsers(dest="model", metavar="MODEL", required=True)
    for model, own in OWN.items():
        kind = kinds.add_parser(model, help=f"train {model}")
        kind.add_argument("--corpus", required=True, metavar="FILE",
                          help="text, one document a line, words between blanks; .gz too")
        kind.add_argument("--out", required=True, metavar="FILE", help=(
            ".vec, .txt, .glove, .bin, each also with .gz"))
        for name, choices in CHOICES[model].items():
            kind.add_argument(f"--{name}", choices=choices, default=choices[0])
        for name, type_, default, words in (*SHARED, *own):
            kind.add_argument(f"--{name}", type=type_, default=default, metavar="N", help=(
                f"{words} (default: {'by model' if default is None else default})"))
        if model == "word2vec":
            kind.add_argument("--start", metavar="FILE", help="vectors to start from, to go on "
                              "training them; new words start at random")
        kind.add_argument("--backend", choices=["numpy", "numba", "cuda"], default="numba")
        kind.set_defaults(run=train)


def complete(options):
    """Fill in what depends on the model."""
    if options.lr is None:
        options.lr = RATES[options.model, getattr(options, "arch", None)]


def check(options):
    """Raises ValueError for an option that names no training, FileNotFoundError for no corpus."""
    for name, least in ABOVE.items():
        value = getattr(options, name.replace("-", "_"), least)
        if not value >= least or value == np.inf:
            raise ValueError(f"--{name}: expected {least} or more, got {value}")
    if options.model == "fasttext" and 0 < options.max_n < options.min_n:
        raise ValueError(f"--min-n: expected at most --max-n, {options.max_n}, got {options.min_n}")
    for name in ("lr", "x-max", "alpha"):
        value = getattr(options, name.replace("-", "_"), 1)
        if not 0 < value < np.inf:
            raise ValueError(f"--{name}: expected more than 0, got {value}")
    most = numba_threads()
    if options.threads > most:
        raise ValueError(f"--threads: this machine has {most}, got {options.threads}")
    if not Path(options.corpus).is_file():
        raise FileNotFoundError(f"--corpus: there is no file {options.corpus}")
    if not Path(options.out).absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {Path(options.out).parent}")
    check_ending(options.out)


def train(options):
    """Train one model and write its vectors; after an interruption the same command goes on."""
    complete(options)
    check(options)
    numba_threads(options.threads)
    folder, started = Path(f"{options.out}.run"), time.perf_counter()
    stat = os.stat(options.corpus)
    own = {k: v for k, v in vars(options).items() if k not in NOT_THE_RUN}
    claim(folder, own | {"corpus": [str(Path(options.corpus).resolve()), stat.st_size,
                                    stat.st_mtime_ns]})
    corpus = prepare(options.corpus, folder, options.min_count)
    job, result = getattr(models, options.model)(options, corpus, folder)
    say(f"{len(corpus.tokens):,} words, {len(corpus.words):,} different ones")
    history = run(job, folder, options.seed, options.checkpoint)
    for epoch, loss in enumerate(history, 1):
        say(f"epoch {epoch}: mean loss {loss:.4f}")
    try:
        write_vectors(options.out, result())
    except OSError as error:
        raise OSError(f"{options.out} could not be written ({error.strerror or error}); {folder} "
                      "keeps what was learned: make room and run the same command again") from error
    release(folder)
    say(f"{options.out}: {len(corpus.words):,} vectors of {options.dim} numbers, "
        f"{time.perf_counter() - started:.0f} s\n"
        f"look around: python -m primer neighbors --vectors {options.out} {corpus.words[0]}")


def numba_threads(number=None):
    """How many threads Numba may use; with a number, how many it shall."""
    import numba  # here, so that other commands start without it
    if number:
        numba.set_num_threads(number)
    return numba.config.NUMBA_NUM_THREADS


def say(words):
    """A line on standard error."""
    print(words, file=sys.stderr, flush=True)
