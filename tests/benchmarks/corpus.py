"""The corpora of the benchmarks, all of real English.

    corpus       chapters 3 to 5: 100,000 documents, 10 million words: windows drawn with a seed
                 from the State of the Union addresses; words, frequencies and neighbours are real,
                 the documents overlap
    corpus_file  word vectors: 10 million words that do not repeat, from six sources of the register

A page of an encyclopedia says more about a word than a page of a novel does, and so does its entry
in a dictionary: half of the second corpus defines words.  Its documents are shuffled once, so that
any first part of the file is a sample of all sources.
"""
import hashlib
import json
import os
import random
import re
import unicodedata
from pathlib import Path

import numpy as np

from primer import data

SOURCES = ("gcide", "wordnet", "sotu", "wikipedia-vital", "wikibooks-recipes", "gutenberg-nltk")
LINE = 1000                                    # words; gensim cuts longer ones at 10,000


def corpus(n=100_000, words=105, seed=0):
    """n windows of words // 2 to 3 * words // 2 words -> list of n str."""
    text = " ".join(data.sotu_paragraphs()[0]).split()
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(text) - 2 * words, n)                # (n,)
    lengths = rng.integers(words // 2, 3 * words // 2 + 1, n)         # (n,)
    return [" ".join(text[a:a + k]) for a, k in zip(starts, lengths, strict=True)]


def corpus_file(words=10_000_000):
    """A file of `words` words, a document a line: [a-z]+ between single spaces -> Path.

    $PRIMER_CORPUS, where it is set, names another file to use instead.  Fetches what is not fetched
    yet (31 MB), and writes the file into the cache once.
    """
    if own := os.environ.get("PRIMER_CORPUS"):
        return Path(own)
    recipe = Path(__file__).read_bytes() + json.dumps(
        [data.entry(name)["sha256"] for name in SOURCES]).encode()
    path = data.cache() / f"corpus-{words}-{hashlib.sha256(recipe).hexdigest()[:8]}.txt"
    if path.exists():
        return path
    lines = [line for name in SOURCES for text in READERS[name]() for line in _lines(text)]
    random.Random(0).shuffle(lines)
    side = path.with_suffix(f".{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(side, "w", encoding="ascii", newline="\n") as out:
        for line in lines:
            line = line[:words]
            out.write(" ".join(line) + "\n")
            if not (words := words - len(line)):
                break
    if words:
        side.unlink()
        raise ValueError(f"the sources hold too few words: {words} more were asked for")
    os.replace(side, path)
    return path


def _lines(text):
    """Words without accents, signs and digits -> lists of 1 to LINE words."""
    text = text if text.isascii() else unicodedata.normalize("NFKD", text)
    words = re.findall("[a-z]+", re.sub(r"[^\x00-\x7f]", "", text).lower())
    return [words[a:a + LINE] for a in range(0, len(words), LINE)]


def _json(name, pattern="*.json"):
    """The values of the JSON objects in a fetched folder, file by file."""
    for file in sorted(data.get(name).rglob(pattern)):
        yield from json.loads(file.read_text(encoding="utf-8")).values()


def _gcide():
    """An entry: the word, its definitions and quotations, its phrases; no etymologies."""
    for entry in _json("gcide"):
        texts = [entry["entry"]]
        for part in entry["pos"]:
            texts += [t for d in part["definitions"] for t in (d["text"], *d["examples"])]
            texts += [part.get("cs", ""), part.get("syn", "")]
        yield re.sub(r"\[[^]]*\]", " ", " ".join(texts))              # [Obs.], [1913 Webster]


def _wordnet():
    """A synset: its words and its gloss."""
    for file in sorted(data.get("wordnet").glob("data.*")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):                             # the licence
                head, gloss = line.split(" | ", 1)
                head = head.split()
                yield " ".join(head[4:4 + 2 * int(head[3], 16):2]).replace("_", " ") + " " + gloss


def _wikipedia():
    for page in _json("wikipedia-vital"):
        yield f"{page['title']} {page.get('description') or ''} {page['extract']}"


def _recipes():
    for page in _json("wikibooks-recipes"):
        yield " ".join([page["title"], *page["ingredients"], *page["steps"]])


def _books():
    for file in sorted(data.get("gutenberg-nltk").glob("*.txt")):
        yield file.read_text(encoding="latin-1")


READERS = {"gcide": _gcide, "wordnet": _wordnet, "sotu": lambda: data.sotu_paragraphs()[0],
           "wikipedia-vital": _wikipedia, "wikibooks-recipes": _recipes, "gutenberg-nltk": _books}
