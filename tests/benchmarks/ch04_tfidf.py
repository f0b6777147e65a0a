"""Texts to unit TF-IDF rows against scikit-learn: equal matrices first, then times; and memory.

Both make the same tokens, weights (raw counts times the smooth idf) and rows of length 1, from a
list of str to a CSR matrix.  scikit-learn uses one thread for this, ours two.  Memory is that of
a fresh process: its highest point while it counts, above what the corpus and the compiled kernels
take before.
"""
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer

from kernels import twin
from primer.ch04_tfidf import idf_smooth, term_frequency_raw
from tests.benchmarks.corpus import corpus

BAR, REPEATS, THREADS = 5.0, 5, 2
VERSIONS = {"python": platform.python_version(), "numpy": np.__version__,
            "numba": numba.__version__, "scikit-learn": sklearn.__version__}


def ours(documents):
    """The chapters' twins -> dict word: column, CSR with unit rows."""
    bow, weigh = twin("ch03_bow", "numba"), twin("ch04_tfidf", "numba")
    vocabulary, X = bow.bag_of_words(documents)
    return vocabulary, weigh.unit_rows(weigh.tfidf(X, term_frequency_raw, idf_smooth))


def theirs(documents):
    """scikit-learn with our tokens -> dict word: column, scipy's CSR."""
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b")
    X = vectorizer.fit_transform(documents)
    return vectorizer.vocabulary_, X


def check(documents):
    """The same words and the same matrix, once its columns are named alike."""
    (vocabulary, X), (other, Y) = ours(documents), theirs(documents)
    assert set(vocabulary) == set(other), "other words"
    Y.sort_indices()
    assert np.array_equal(Y.indptr, X.indptr), "other entries"
    column = np.empty(len(vocabulary), np.int64)                      # ours -> theirs
    column[list(vocabulary.values())] = [other[word] for word in vocabulary]
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    order = np.lexsort((column[X.indices], rows))
    assert np.array_equal(column[X.indices][order], Y.indices), "other entries"
    np.testing.assert_allclose(X.data[order], Y.data, rtol=1e-12)


def measured(what, peer, size, mine, peers, bar, **more):
    return {"what": what, "peer": peer, "size": size, "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": bar, "reached": peers / mine >= bar,
            "versions": VERSIONS, **more}


def speed(documents, size):
    """Median seconds of each, one after the other, REPEATS times."""
    times = {ours: [], theirs: []}
    for _ in range(REPEATS):
        for function, seconds in times.items():
            start = time.perf_counter()
            function(documents)
            seconds.append(time.perf_counter() - start)
    mine, peers = (statistics.median(seconds) for seconds in times.values())
    return measured("texts to TF-IDF matrix", "TfidfVectorizer", size, mine, peers, BAR)


CHILD = """
import json, re, resource, sys
from pathlib import Path
import psutil
from kernels import twin

def peak():              # ru_maxrss is the parent's too on Linux, where exec does not reset it
    if Path("/proc/self/status").exists():
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

bow = twin("ch03_bow", "numba")
bow.bag_of_words(["warm up", "the kernels \\u00e9"])
documents = [line.rstrip("\\n") for line in open(sys.argv[1], encoding="utf-8", newline="\\n")]
before = psutil.Process().memory_info().rss
vocabulary, X = bow.bag_of_words(documents)
extra = peak() - before
index = sum(part.nbytes for part in X[:3]) + sys.getsizeof(vocabulary) + sum(
    sys.getsizeof(word) for word in vocabulary)
print(json.dumps({"extra": extra, "index": index}))
"""


def memory(documents, size):
    """Highest point of counting in a fresh process; at most twice the corpus plus the index."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        path.write_text("\n".join(documents), encoding="utf-8", newline="\n")
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True,
                              capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        allowed = 2 * path.stat().st_size + found["index"]
    return measured("memory of indexing", "2 x corpus + index", size, found["extra"], allowed, 1.0,
                    unit="bytes", index=found["index"])


def rows():
    """Speed and memory, on two threads -> dicts."""
    documents = corpus()
    size = f"{len(documents)} documents, {sum(d.count(' ') + 1 for d in documents)} words"
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    check(documents)                                                  # warms both up, too
    yield speed(documents, size)
    yield memory(documents, size)
