"""BM25 on 100,000 documents of about 105 words: build an index from raw strings, search it.

Peers: bm25s (its Numba back end, two threads) and tantivy (Rust; two threads to write, one to
search).  All get k1 = 1.2, b = 0.75 and Lucene's idf.  Before anything is timed:

    bm25s    keeps no factor k1 + 1: with it, its scores are ours up to float32, and so are its
             documents, up to ties and to documents without a word of the query (score 0)
    tantivy  stores each length in one byte, as Lucene does, so that long documents of slightly
             different lengths count alike: its top 10 must share 9 of 10 documents with ours

What favours the peers: queries come to bm25s as tokens, as they do to us; tantivy's answers are
not read from its store, and it searches after all its merges, but need not wait for them to index.
"""
import importlib.metadata

import numba
import numpy as np

from kernels import twin
from primer.ch03_bow import encode, tokenize
from primer.ch05_bm25 import BM25
from tests.benchmarks.corpus import corpus
from tests.benchmarks.timing import interleaved

PATTERN = r"(?u)\b\w+\b"              # bm25s: chapter 3's tokens
K = 10


def ours_index(documents):
    return BM25(documents, bow=twin("ch03_bow", "numba"), bm25=twin("ch05_bm25", "numba"))


def bm25s_tokens(texts, **options):
    import bm25s
    return bm25s.tokenize(texts, token_pattern=PATTERN, stopwords=None, stemmer=None,
                          show_progress=False, **options)


def bm25s_index(documents):
    import bm25s
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numba")
    index.index(bm25s_tokens(documents), show_progress=False)
    return index


def tantivy_index(documents, wait=False):
    """Written by two threads, committed, reloaded; `wait` for the merges too."""
    import tantivy
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", stored=False, tokenizer_name="default")
    builder.add_integer_field("id", stored=True)
    index = tantivy.Index(builder.build())
    writer = index.writer(heap_size=400_000_000, num_threads=2)
    for i, document in enumerate(documents):
        writer.add_document(tantivy.Document(body=document, id=i))
    writer.commit()
    if wait:
        writer.wait_merging_threads()
    index.reload()
    return index


def draw_queries(index, m=2000, words=3, seed=1):
    """Words drawn as often as they stand in the documents -> m texts."""
    tokens = np.repeat(index.X.indices, index.X.data)
    drawn = tokens[np.random.default_rng(seed).integers(0, tokens.size, (m, words))]
    return [" ".join(index.words[t] for t in row) for row in drawn]


def check_bm25s(ours, theirs):
    """Scores equal to 1e-5; documents too, but for those whose score is tied or 0."""
    (documents, best), (other, scores) = ours, theirs
    scores = scores * 2.2
    assert np.allclose(best, scores, rtol=1e-5, atol=1e-5), np.abs(best - scores).max()
    apart = np.abs(np.diff(best, axis=1)) > 1e-4 * best[:, 1:]         # from the next one
    alone = np.ones(best.shape, bool)                                  # the last one may tie
    alone[:, 1:] &= apart
    alone[:, :-1] &= apart
    alone[:, -1] = False
    assert alone.mean() > 0.5 and np.array_equal(documents[alone], other[alone])


def check_tantivy(documents, index, queries):
    """Mean share of our top 10 that tantivy's has; ours may hold fewer than 10."""
    searcher, shares = index.searcher(), []
    for query, own in zip(queries, documents, strict=True):
        hits = searcher.search(index.parse_query(query, ["body"]), K).hits
        found = {searcher.doc(address)["id"][0] for _, address in hits}
        own = set(own[own >= 0].tolist())
        shares.append(len(own & found) / max(len(own), 1))
    assert np.mean(shares) >= 0.9, f"only {np.mean(shares):.3f} of the documents are the same"


def row(what, peer, size, bar, ours, theirs):
    own, other = interleaved(ours, theirs)
    packages = ("numpy", "numba", peer)
    return {"what": what, "peer": peer, "size": size, "ours": own, "peer_s": other,
            "ratio": other / own, "bar": bar, "reached": other / own >= bar,
            "versions": {p: importlib.metadata.version(p) for p in packages}}


def rows(n=100_000):
    """Four rows; compilation happens in the checks and warm-ups."""
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    documents = corpus(n)
    index, theirs, rust = (ours_index(documents), bm25s_index(documents),
                           tantivy_index(documents, wait=True))
    queries = draw_queries(index)
    tokens = [tokenize(q) for q in queries]
    search = twin("ch05_bm25", "numba").search

    def batch():
        return search(index.postings, [encode(t, index.vocabulary) for t in tokens], K)

    def their_batch():
        return theirs.retrieve(tokens, k=K, n_threads=2, show_progress=False)

    check_bm25s(batch(), their_batch())
    check_tantivy(batch()[0], rust, queries)
    size = f"{n} documents"
    yield row("raw strings to index", "bm25s", size, 5, lambda: ours_index(documents),
              lambda: bm25s_index(documents))
    yield row("raw strings to index", "tantivy", size, 1, lambda: ours_index(documents),
              lambda: tantivy_index(documents))
    size = f"top {K}, {len(queries)} queries"
    yield row("search, 2 threads", "bm25s", size, 30, batch, their_batch)
    numba.set_num_threads(1)

    def one_by_one():
        for query in queries:
            index.search([query], K)

    def rust_one_by_one():
        searcher = rust.searcher()
        for query in queries:
            searcher.search(rust.parse_query(query, ["body"]), K)

    yield row("search one by one", "tantivy", size, 4, one_by_one, rust_one_by_one)
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
