"""Make datasets/derived_words.tsv: rare words, what each is derived from, a word of like meaning,
and one of unlike meaning.

    python -m tests.makers.derived           fetches WordNet (register entry wordnet) first
    python -m tests.makers.derived FOLDER    takes the dict files of a folder

A model that makes vectors of unseen words from their parts should place "mournfulness" nearer to
"sad" than to a word drawn at random.  That it looks like "mournful" does not help it alone: word
and choice share next to no letters.  Of each line, WordNet says that the word is derived from the
base (derivationally related form, pertainym), and that the alike word is another one for that very
sense of the base, or for a concept right above it (hypernym) or beside it (similar to).  The unlike
word is about as frequent as the alike one, of the base's part of speech, and near no sense of both.
The rare word has no occurrence in Princeton's tagged corpus or in the State of the Union addresses,
where the others occur FREQUENT times or more.
"""
import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

from primer import data
from primer.ch02_lexicon import STOP_WORDS
from primer.ch03_bow import tokenize
from primer.formats.wordnet import WORDNET_SUFFIX, _lines, _record, _tag_counts

FREQUENT, SHARED, NEIGHBOURS = 10, 4, 100


def read_records(folder):
    """dict (pos, offset): lemmas in lower case, pointers (symbol, offset, pos, ends)."""
    records = {}
    for pos, suffix in WORDNET_SUFFIX.items():
        for _, line in _lines(folder / f"data.{suffix}"):
            offset, (_, lemmas, *_, pointers) = _record(line, pos, {})
            records[pos, offset] = [w.lower() for w in lemmas], pointers
    return records


def derivations(records):
    """Yield (word, base, key of the base's synset), both ways where WordNet has both."""
    for lemmas, pointers in records.values():
        for symbol, offset, pos, ends in pointers:
            if symbol in ("+", "\\"):
                key = pos, int(offset)
                yield lemmas[int(ends[:2], 16) - 1], records[key][0][int(ends[2:], 16) - 1], key


def near_words(records, key):
    """Words of a synset, of those right above it, and of those beside it -> list."""
    lemmas, pointers = records[key]
    return lemmas + [w for symbol, offset, pos, _ in pointers if symbol in ("@", "@i", "&")
                     for w in records[pos, int(offset)][0]]


def grams(word):
    """Runs of 3 letters of a word in fences -> set."""
    return {f"<{word}>"[i:i + 3] for i in range(len(word))}


def build(folder):
    """The bytes of derived_words.tsv from the dict folder of the whole database."""
    records = read_records(folder)
    tagged = defaultdict(Counter)                        # word: how often in each part of speech
    for (word, pos, _), count in _tag_counts(folder / "index.sense").items():
        tagged[word][pos] += count
    counts = Counter(tokenize(" ".join(data.sotu_paragraphs()[0])))
    known = {w for lemmas, _ in records.values() for w in lemmas}
    frequent = [w for w in sorted(counts, key=lambda w: (-counts[w], w))
                if counts[w] >= FREQUENT and w in known and re.fullmatch("[a-z]{3,}", w)
                and w not in STOP_WORDS]
    rank = {w: i for i, w in enumerate(frequent)}
    of_word = defaultdict(set)                               # all that any sense is near to
    for key, (lemmas, _) in records.items():
        for w in lemmas:
            of_word[w].update(near_words(records, key))
    best = {}
    for word, base, key in derivations(records):
        if (re.fullmatch("[a-z]{7,}", word) and word not in tagged and word not in counts
                and base in rank and len(word) > len(base) and word[:SHARED] == base[:SHARED]):
            for i, alike in enumerate(near_words(records, key)):      # the nearest come first
                if alike in rank and not grams(alike) & (grams(word) | grams(base)):
                    best[word] = max(best.get(word, ()), (-rank[base], -i, base, alike, key[0]))
    draw, lines = random.Random(0), ["# derived\tbase\talike\tunlike\n"]
    for word, (*_, base, alike, pos) in sorted(best.items()):
        kin = of_word[base] | of_word[alike] | {alike}
        low = max(rank[alike] - NEIGHBOURS // 2, 0)
        others = [w for w in frequent[low:low + NEIGHBOURS] if w not in kin
                  and tagged[w] and max(tagged[w], key=tagged[w].get) == pos
                  and not grams(w) & (grams(word) | grams(base))]
        if others:
            lines.append(f"{word}\t{base}\t{alike}\t{draw.choice(others)}\n")
    return "".join(lines).encode("ascii")


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else data.get("wordnet")
    target = data.DATASETS / "derived_words.tsv"
    target.write_bytes(build(source))
    print(f"{target}  {target.stat().st_size} bytes  sha256 {data.sha256(target)}")
