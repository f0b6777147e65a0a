"""Freeze NLTK's WordNet measures on 200 pairs -> tests/parity/ch02_lexicon.json.

    python -m tests.parity.ch02_lexicon FOLDER       FOLDER: WordNet 3.1's dict files; needs NLTK

NLTK reads the same database, so that both speak of the same synsets.  It wants a few files that
the folder lacks: lexnames (any 45 names do), exceptions and tag counts (empty).  Both sides get
one information content: tagged uses + 1 of each synset of the excerpt, passed up by chapter 2.
The script also compares whole WordNet with NLTK: every name, and every measure on the excerpt.
"""
import json
import math
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from primer import formats
from primer.ch02_lexicon import (
    WordNet,
    information_content,
    leacock_chodorow,
    lowest_common_hypernyms,
    path_similarity,
    resnik,
    wu_palmer,
)

PAIRS = {"n": (70, 50), "v": (50, 30)}               # drawn at random, and the nearest of 4000
MEASURES = ("path", "wup", "lch", "res")


def nltk_wordnet(folder, version):
    """NLTK's reader on a copy of the dict files, completed."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):
        def map_wn(self, version="wordnet"):         # to release 3.0, which is not there
            return {}

    nltk.data.path.append(str(version))              # NLTK refuses to read anywhere else
    for file in Path(folder).rglob("*.*"):
        if file.name.startswith(("data.", "index.")):
            shutil.copyfile(file, version / file.name)
    (version / "lexnames").write_text("".join(f"{i:02d}\tfile{i:02d}\t1\n" for i in range(45)))
    for name in ("adj.exc", "adv.exc", "noun.exc", "verb.exc", "cntlist.rev"):
        (version / name).write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Reader(str(version), None)


def draw_pairs(wn):
    """Pairs of names of the excerpt, half of them far apart, half near."""
    rng, pairs = random.Random(2), []
    for pos, (far, near) in PAIRS.items():
        names = [name for name, s in wn.all.items() if s.pos == pos]
        many = [tuple(rng.sample(names, 2)) for _ in range(4000)]
        pairs += many[:far]
        pairs += sorted(many[far:], key=lambda p: -wn.compare(path_similarity, *p))[:near]
    return pairs


def shared_information(wn):
    """The information content that both sides use -> dict name: float."""
    out = {}
    for pos in "nv":
        counts = {name: 1 + sum(s.counts) for name, s in wn.all.items() if s.pos == pos}
        out |= {name: v for name, v in information_content(wn.hypernyms, counts).items()
                if name in counts}
    return out


def theirs(reader, information, a, b):
    a, b = reader.synset(a), reader.synset(b)
    return (a.path_similarity(b), a.wup_similarity(b), a.lch_similarity(b),
            a.res_similarity(b, information))


def ours(wn, information, depths, a, b):
    return (wn.compare(path_similarity, a, b), wn.compare(wu_palmer, a, b),
            wn.compare(leacock_chodorow, a, b, depths[wn.synset(a).pos]),
            wn.compare(resnik, a, b, information))


def main(folder):
    excerpt, full = WordNet.excerpt(), WordNet(*formats.read_wordnet(folder))
    information = shared_information(excerpt)
    with tempfile.TemporaryDirectory() as version:
        reader = nltk_wordnet(folder, Path(version))
        names = sorted(s.name() for s in reader.all_synsets())
        assert names == sorted(full.all), "names differ"
        for word in ("bank", "run", "light", "bright", "bat", "hot"):
            assert [s.name() for s in reader.synsets(word)] == [s.name for s in full.synsets(word)]
        given = {pos: {0: 1.0} for pos in "nv"}
        for name, value in information.items():
            s = reader.synset(name)
            assert s.definition() == excerpt.all[name].gloss, name
            given[s.pos()][s.offset()] = math.exp(-value)
        depths = {pos: excerpt.taxonomy_depth(pos) for pos in "nv"}
        pairs = draw_pairs(excerpt)
        values = [theirs(reader, given, *p) for p in pairs]
        lowest = [[s.name() for s in reader.synset(a).lowest_common_hypernyms(reader.synset(b))]
                  for a, b in pairs]
        for p, want, below in zip(pairs, values, lowest, strict=True):
            for wn in (excerpt, full):
                got = ours(wn, information, depths, *p)
                assert all(math.isclose(g, w, rel_tol=1e-9, abs_tol=1e-12)
                           for g, w in zip(got, want, strict=True)), (p, got, want)
                assert lowest_common_hypernyms(wn.hypernyms, *p) == below, p
    record = {"nltk": __import__("nltk").__version__, "pairs": pairs, "lowest": lowest,
              **{m: [v[i] for v in values] for i, m in enumerate(MEASURES)}}
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=0) + "\n")
    print(f"{len(pairs)} pairs, {len(names)} names: all agree")


if __name__ == "__main__":
    main(sys.argv[1])
