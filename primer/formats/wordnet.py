"""WordNet's dict folder: data.noun, index.noun, ..., index.sense, and our excerpt of it.

The text format is Princeton's own, described in its manual pages wndb(5WN) and senseidx(5WN).
"""
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import NamedTuple

WORDNET_SUFFIX = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
WORDNET_POINTERS = {"@": "hypernyms", "@i": "hypernyms", "%m": "meronyms", "%s": "meronyms",
                    "%p": "meronyms", "*": "entailments", "&": "similar", "!": "antonyms"}


class Synset(NamedTuple):
    """One concept of WordNet."""

    name: str              # first lemma, part of speech, number of that lemma's sense: "bank.n.01"
    lemmas: list           # words for it, "_" for a blank
    counts: list           # how often a corpus, tagged by hand, has each lemma in this sense
    gloss: str             # what it means
    examples: list
    pointers: dict         # relation: list of names; antonyms tie words: [lemma, name, lemma]

    @property
    def pos(self):
        """n noun, v verb, a adjective, s satellite adjective, r adverb."""
        return self.name.rsplit(".", 2)[1]


def read_wordnet_excerpt(path):
    """Read an excerpt, gzipped JSON  ->  (synsets, senses) as read_wordnet.

    senses has None for a sense that the excerpt leaves out.  Raises ValueError for a damaged file.
    """
    try:
        stored = json.loads(gzip.decompress(Path(path).read_bytes()))
        synsets = {name: Synset(name, *record) for name, record in stored["synsets"].items()}
        return synsets, stored["senses"]
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: not a whole WordNet excerpt ({error}); truncated?") from error


def read_wordnet(folder):
    """Read WordNet's dict folder  ->  (synsets, senses).

    synsets: dict name: Synset.  senses: dict word: dict pos: list of names, most frequent first.
    Raises FileNotFoundError for a missing file, ValueError for a damaged or truncated one.
    """
    folder = Path(folder)
    folder = folder / "dict" if (folder / "dict").is_dir() else folder
    index = {pos: _index(folder / f"index.{s}") for pos, s in WORDNET_SUFFIX.items()}
    lines = {pos: _lines(folder / f"data.{s}") for pos, s in WORDNET_SUFFIX.items()}
    tagged = _tag_counts(folder / "index.sense")
    raw = {}
    for pos, numbered in lines.items():
        for number, line in numbered:
            try:
                offset, record = _record(line, pos, tagged)
            except (ValueError, IndexError) as error:
                raise ValueError(f"data.{WORDNET_SUFFIX[pos]}, line {number}: cannot be read "
                                 f"({error}); is the file truncated?") from error
            raw[pos, offset] = record
    try:
        return _by_name(raw, index)
    except (LookupError, ValueError) as error:
        raise ValueError(f"{folder}: index and data files do not fit together ({error}); is one "
                         "of them truncated?") from error


def _lines(path):
    """-> list of (line number, line), without the licence, whose lines begin with a blank."""
    text = path.read_text(encoding="utf-8")
    return [(i, line) for i, line in enumerate(text.splitlines(), 1) if line[:1] not in ("", " ")]


def _index(path):
    """-> dict word: list of offsets into the data file, most frequent sense first."""
    out = {}
    for number, line in _lines(path):
        fields = line.split()
        try:
            n = int(fields[2])                            # n senses: the last n fields
            if not 0 < n < len(fields) - 5:
                raise ValueError(f"{n} senses")
            out[fields[0]] = [int(f) for f in fields[-n:]]
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path.name}, line {number}: cannot be read; truncated?") from error
    return out


def _tag_counts(path):
    """-> dict (word, pos, offset): how often Princeton's tagged corpus has the word so."""
    out = {}
    for number, line in _lines(path):
        try:
            key, offset, _, count = line.split()
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: cannot be read; truncated?") from error
        if count != "0":
            word, rest = key.split("%")
            out[word, "nvara"[int(rest[0]) - 1], int(offset)] = int(count)
    return out


def _record(line, pos, tagged):
    """One line of a data file -> offset, (type, lemmas, counts, gloss, examples, pointers)."""
    left, bar, gloss = line.partition("|")
    if not bar:
        raise ValueError("no gloss")
    f = left.split()
    n = int(f[3], 16)
    lemmas = [re.sub(r"\(\w+\)$", "", w) for w in f[4:4 + 2 * n:2]]      # "alive(p)"
    at = 4 + 2 * n
    pointers = [f[i:i + 4] for i in range(at + 1, at + 1 + 4 * int(f[at]), 4)]
    if any(len(p) < 4 for p in pointers):
        raise ValueError("a pointer is cut off")
    offset = int(f[0])
    counts = [tagged.get((w.lower(), pos, offset), 0) for w in lemmas]
    examples = re.findall(r'"([^"]*)"', gloss)
    gloss = re.sub(r'".*?"', "", gloss).strip().strip("; ")
    return offset, (f[2], lemmas, counts, gloss, examples, pointers)


def _by_name(raw, index):
    """Offsets become names: first lemma, part of speech, number of the sense ("bank.n.01").

    A satellite adjective ("s") is numbered among the satellites of its word only, as in NLTK.
    """
    names = {}
    for (pos, offset), (kind, lemmas, *_) in raw.items():
        word = lemmas[0].lower()
        same = [o for o in index[pos][word] if kind != "s" or raw[pos, o][0] == "s"]
        names[pos, offset] = f"{word}.{kind}.{same.index(offset) + 1:02d}"
    synsets = {}
    for key, (_, lemmas, counts, gloss, examples, pointers) in raw.items():
        related = {}
        for symbol, offset, pos, ends in pointers:
            if relation := WORDNET_POINTERS.get(symbol):
                target = name = names[pos, int(offset)]
                if relation == "antonyms":
                    other = raw[pos, int(offset)][1]
                    target = [lemmas[int(ends[:2], 16) - 1], name, other[int(ends[2:], 16) - 1]]
                related.setdefault(relation, []).append(target)
        synsets[names[key]] = Synset(names[key], lemmas, counts, gloss, examples, related)
    senses = {}
    for pos, words in index.items():
        for word, offsets in words.items():
            senses.setdefault(word, {})[pos] = [names[pos, o] for o in offsets]
    return synsets, senses
