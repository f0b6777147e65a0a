"""Make datasets/wordnet_excerpt.json.gz: the part of WordNet 3.1 that chapter 2 works on offline.

    python -m tests.makers.wordnet           fetches the source (register entry wordnet) first
    python -m tests.makers.wordnet FOLDER    takes the dict files of a folder

What is in it: every sense of WORDS and WITH_HYPONYMS (the text's examples and their kin), their
antonyms, meronyms, entailments and similar adjectives; the direct hyponyms of WITH_HYPONYMS; every
noun sense of the 300 words that the State of the Union addresses use most; RANDOM synsets drawn
from the whole database; a deepest noun and a deepest verb; and every hypernym of all these up to
the root, so that path, depth and common hypernym are those of the whole database. Pointers to
anything else are left out; a word keeps its list of senses, with null for one that is left out,
so that "line.n.18" means the same as in the whole. A few coarse senses (COARSE) are left out too:
the file is for classrooms.
"""
import gzip
import json
import random
import re
import sys
from collections import Counter

from primer import data
from primer.ch02_lexicon import STOP_WORDS, WordNet
from primer.ch03_bow import tokenize
from primer.formats import read_wordnet

WITH_HYPONYMS = """
    bank head bat book light apple paper car automobile elevator lift bright
    cat dog mat log horse cow pet canine mammal poodle carnivore iguana animal vehicle vertebrate
    loan institution slope
    """.split()
WORDS = """
    run big large childish childlike happy joyful begin start hot cold warm lukewarm neutral sad
    glad unhappy tall short alive dead present absent true false buy sell pupil up down enter exit
    rise fall good bad success failure dark increase decrease love hate intelligent temperature
    king queen monarch man woman parent child teacher student essay
    material mistake building prince princess actor actress boy girl food bird fish wolf organism
    rock motor_vehicle river deposit money savings company line business engine land
    chase sit walk nod operate manage lead sleep snore breathe eat kill die
    """.split()
SOTU_WORDS = 300
COARSE = re.compile("offensive term|ethnic slur|sexual intercourse|sexually attracted|"
                    "oral (sex|stimulation)")
RANDOM = {"n": 150, "v": 60}


def select(wn):
    """Names of the synsets to keep, in the database's order."""
    text = " ".join(p for address in data.load_sotu() for p in address["paragraphs"])
    counts = Counter(w for w in tokenize(text) if w in wn.senses and w not in STOP_WORDS)
    common = [w for w, _ in sorted(counts.items(), key=lambda wc: (-wc[1], wc[0]))[:SOTU_WORDS]]
    keep = {s.name for w in common for s in wn.synsets(w, "n")}
    keep |= {n for w in WITH_HYPONYMS for s in wn.synsets(w) for n in wn.hyponyms[s.name]}
    for s in (s for w in WORDS + WITH_HYPONYMS for s in wn.synsets(w)):
        keep |= {s.name, *wn.meronyms[s.name], *wn.entailments[s.name], *wn.similar[s.name],
                 *(target for _, target, _ in s.pointers.get("antonyms", []))}
    draw = random.Random(2)
    for pos, number in RANDOM.items():
        keep.update(draw.sample([n for n, s in wn.all.items() if s.pos == pos], number))
    keep = {n for n in keep if not COARSE.search(wn.all[n].gloss)}
    keep.update(deepest(wn, pos) for pos in "nv")
    above = list(keep)
    for name in above:                                       # the list grows as we read it
        above += (p for p in wn.hypernyms[name] if p not in keep)
        keep.update(wn.hypernyms[name])
    return [name for name in wn.all if name in keep]


def deepest(wn, pos):
    """The first synset of a part of speech on its longest chain of hypernyms."""
    depths = {}

    def depth(name):
        if name not in depths:
            depths[name] = 1 + max(map(depth, wn.hypernyms[name]), default=-1)
        return depths[name]

    return max((n for n, s in wn.all.items() if s.pos == pos), key=depth)


def build(folder):
    """The bytes of wordnet_excerpt.json.gz from the dict folder of the whole database."""
    wn = WordNet(*read_wordnet(folder))
    names = select(wn)
    keep = set(names)
    synsets = {}
    for s in map(wn.all.get, names):
        inside = {relation: kept for relation, targets in s.pointers.items() if (kept := [
            t for t in targets if (t[1] if relation == "antonyms" else t) in keep])}
        synsets[s.name] = [s.lemmas, s.counts, s.gloss, s.examples, inside]
    words = {lemma.lower() for name in names for lemma in wn.all[name].lemmas}
    senses = {word: {pos: [n if n in keep else None for n in listed]
                     for pos, listed in by_pos.items() if keep & set(listed)}
              for word, by_pos in sorted(wn.senses.items()) if word in words}
    record = {"licence": licence(folder), "source": "WordNet 3.1, an excerpt: fewer synsets, "
              "other form, nothing else changed", "synsets": synsets, "senses": senses}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)


def licence(folder):
    """The notice at the head of each data file, which must go with every copy."""
    (file,) = folder.rglob("data.noun")
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(re.sub(r"^ +\d+ ?", "", x).rstrip() for x in lines if x.startswith("  "))


if __name__ == "__main__":
    from pathlib import Path
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else data.get("wordnet")
    target = data.DATASETS / "wordnet_excerpt.json.gz"
    target.write_bytes(build(source))
    print(f"{target}  {target.stat().st_size} bytes  sha256 {data.sha256(target)}")
