"""The models that `train` knows: arrays, a step on one block, and what is written at the end.

word2vec   skip-gram or CBOW with negative sampling (chapter 8), hierarchical softmax (7), or the
           full softmax (6)
glove      co-occurrences by 1 / distance counted (10, 11), then AdaGrad over them (11)
fasttext   skip-gram or CBOW over words and their n-grams with negative sampling (12)

Each is a function (options, corpus, folder) -> Job, result; result() -> WordVectors or FastText.
"""
import numpy as np
from tqdm import tqdm

import kernels
from primer import ch06_word2vec as ch06
from primer import ch07_hierarchical_softmax as ch07
from primer import ch08_negative_sampling as ch08
from primer import ch11_glove as ch11
from primer import ch12_fasttext as ch12
from primer.ch03_bow import CSR
from primer.formats import FastText, WordVectors, read_vectors
from primer.formats.files import replaced
from primer.training.corpus import runs
from primer.training.job import Job

BLOCK = 400_000                      # words
SOFTMAX_BLOCK = 2_000                # words: each costs V times as much
COUNTED = 5_000_000                  # words that are counted at once
ENTRIES = 2_000_000                  # counts


def word2vec(options, corpus, folder):
    """Chapters 6 to 8."""
    V, rng = len(corpus.words), np.random.default_rng(options.seed)
    W, U = ch06.initial_vectors(V, options.dim, rng)                  # (V, d), (V, d)
    if options.start:
        start_from(W, corpus.words, read_vectors(options.start))
    if options.loss == "softmax":
        twin = kernels.twin("ch06_word2vec", options.backend)
        step = softmax_step(twin, options.arch, W, U)
        size = SOFTMAX_BLOCK
    elif options.loss == "hs":
        twin = kernels.twin("ch07_hierarchical_softmax", options.backend)
        tree, U = ch07.huffman_tree(corpus.counts), U[1:]             # Tree, (V - 1, d)
        run_block, size = block(twin, options.arch), BLOCK

        def step(tokens, starts, windows, rates, rng):
            return run_block(W, U, tokens, starts, windows, rates, tree)
    else:
        twin = kernels.twin("ch08_negative_sampling", options.backend)
        draw, run_block, size = noise(corpus, options, 0.75), block(twin, options.arch), BLOCK

        def step(tokens, starts, windows, rates, rng):
            return run_block(W, U, tokens, starts, windows, rates, draw(len(tokens), rng))
    return over_text(options, corpus, {"W": W, "U": U}, step, size), \
        lambda: WordVectors(corpus.words, W)


def softmax_step(twin, arch, W, U):
    """A step of chapter 6, whose epochs return new arrays and take a rate for each example."""
    examples, epoch = ((twin.skipgram_pairs, twin.skipgram_epoch) if arch == "skipgram" else
                       (twin.cbow_windows, twin.cbow_epoch))

    def step(tokens, starts, windows, rates, rng):
        batch = examples(tokens, starts, windows)
        n = len(batch[0])
        if not n:
            return 0.0, 0
        W[...], U[...], losses = epoch(W, U, *batch, np.full(n, rates.mean()))
        return float(losses.sum()), n
    return step


def fasttext(options, corpus, folder):
    """Chapter 12."""
    V, rng = len(corpus.words), np.random.default_rng(options.seed)
    buckets = options.buckets if options.max_n else 0
    Z, U = ch12.initial_vectors(V, buckets, options.dim, rng)         # (V + B, d), (V, d)
    ngrams = ch12.subword_rows(corpus.words, options.min_n, options.max_n, buckets)
    twin = kernels.twin("ch12_fasttext", options.backend)
    draw, run_block = noise(corpus, options, 0.5), block(twin, options.arch)

    def step(tokens, starts, windows, rates, rng):
        return run_block(Z, U, tokens, starts, windows, rates, draw(len(tokens), rng), ngrams)

    about = {"dim": options.dim, "ws": options.window, "epoch": options.epochs,
             "minCount": options.min_count, "neg": options.negative, "wordNgrams": 1,
             "loss": 2, "model": 2 if options.arch == "skipgram" else 1, "bucket": buckets,
             "minn": options.min_n, "maxn": options.max_n, "lrUpdateRate": 100, "t": options.sample}
    return over_text(options, corpus, {"Z": Z, "U": U}, step, BLOCK), \
        lambda: FastText(about, corpus.words, corpus.counts, Z, U, tokens=int(corpus.counts.sum()))


def glove(options, corpus, folder):
    """Chapter 11; the counts are kept in the run's folder."""
    twin = kernels.twin("ch11_glove", options.backend)
    X = counted(corpus, folder / "counts.npz", options.window, twin)
    rng = np.random.default_rng(options.seed)
    model = ch11.initial_model(len(corpus.words), options.dim, rng)
    entries = ch11.shuffled_entries(X, rng, options.x_max, options.alpha)
    cuts = range(0, len(entries[0]), ENTRIES)

    def step(epoch, number, rng):
        part = slice(cuts[number], cuts[number] + ENTRIES)
        return twin.adagrad_block(*model, *(e[part] for e in entries), options.lr)

    sizes = [min(ENTRIES, len(entries[0]) - c) for c in cuts]
    return Job({"words": model.words, "contexts": model.contexts}, sizes, step, options.epochs,
               " counts"), lambda: WordVectors(corpus.words, ch11.word_vectors(model))


def counted(corpus, file, window, twin):
    """The counts of a corpus, added up block by block, or those that the file holds  ->  CSR."""
    V = len(corpus.words)
    if not file.exists():
        bounds = tqdm(runs(corpus.starts, COUNTED), "counting pairs", leave=False, disable=None)
        X = ch11.sum_counts((twin.count_block(*part(corpus, *ends), V, window) for ends in bounds),
                            twin)
        with replaced(file) as out:
            np.savez(out, indptr=X.indptr, indices=X.indices, data=X.data)
    with np.load(file, allow_pickle=False) as stored:
        return CSR(stored["indptr"], stored["indices"], stored["data"], (V, V))


def part(corpus, first, stop):
    """Documents first to stop of a corpus  ->  tokens (T,), starts (n + 1,) from 0."""
    starts = corpus.starts[first:stop + 1]
    return np.array(corpus.tokens[starts[0]:starts[-1]]), starts - starts[0]


def block(twin, arch):
    return twin.skipgram_block if arch == "skipgram" else twin.cbow_block


def noise(corpus, options, power):
    """-> draw(T, rng): (T, K) noise words, in proportion to count^power (8.3)."""
    twin = kernels.twin("ch08_negative_sampling", options.backend)
    table = ch08.alias_table(ch08.noise_distribution(corpus.counts, power))
    return lambda T, rng: twin.draw_noise(table, (T, options.negative), rng)


def over_text(options, corpus, arrays, step, size):
    """A job whose blocks are runs of documents, subsampled, with windows and falling rates."""
    subsample = kernels.twin("ch08_negative_sampling", options.backend).subsample
    keep = ch08.keep_probability_word2vec_c(corpus.counts, options.sample or np.inf)      # (V,)
    bounds, T = runs(corpus.starts, size), int(corpus.starts[-1])

    def step_of(epoch, number, rng):
        tokens, starts, places = subsample(*part(corpus, *bounds[number]), keep, rng)
        windows = ch06.windows_word2vec_c(len(tokens), options.window, rng)       # (T',)
        places += corpus.starts[bounds[number][0]]                    # (T',)  of the corpus
        rates = ch08.falling_rate(options.lr, (epoch + places / T) / options.epochs)
        return step(tokens, starts, windows, rates, rng)

    sizes = [int(corpus.starts[stop] - corpus.starts[first]) for first, stop in bounds]
    return Job(arrays, sizes, step_of, options.epochs)


def start_from(W, words, vectors):
    """Give known words the vectors of an earlier training  ->  nothing; W changes in place."""
    if vectors.vectors.shape[1] != W.shape[1]:
        raise ValueError(f"--start: its vectors have {vectors.vectors.shape[1]} numbers, --dim is "
                         f"{W.shape[1]}")
    known = [i for i, word in enumerate(words) if word in vectors]
    W[known] = vectors.vectors[[vectors.index(words[i]) for i in known]]
