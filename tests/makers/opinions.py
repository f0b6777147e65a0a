"""Make datasets/opinions.tsv: how good or bad people find the words of the addresses.

    python -m tests.makers.opinions          fetches the source (register entry vader) first
    python -m tests.makers.opinions FOLDER   takes the lexicon and the licence below a folder

Kept are the lexicon's words of letters alone that stand in an address: no emoticon, no slang of
the net, hardly a word that does not belong in a classroom.  A line has a word and the mean of ten
people's ratings from -4 to 4, as the source has it; lines that begin with # carry the licence.
"""
import re
import sys
from pathlib import Path

from primer import data
from primer.ch03_bow import tokenize


def build(lexicon, licence):
    """The bytes of opinions.tsv from the text of vader_lexicon.txt and of its licence."""
    spoken = {word for text in data.sotu_paragraphs()[0] for word in tokenize(text)}
    rated = dict(line.split("\t")[:2] for line in lexicon.splitlines())
    kept = sorted(word for word in rated if re.fullmatch("[a-z]+", word) and word in spoken)
    head = ["VADER's lexicon (Hutto and Gilbert 2014), the words of the State of the Union "
            "addresses", *licence.split("\n")]
    lines = [f"# {line}".rstrip() for line in head]
    return "\n".join([*lines, *(f"{word}\t{rated[word]}" for word in kept), ""]).encode()


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else data.get("vader")
    (lexicon,), (licence,) = source.rglob("vader_lexicon.txt"), source.rglob("LICENSE.txt")
    target = data.DATASETS / "opinions.tsv"
    target.write_bytes(build(lexicon.read_text("utf-8"), licence.read_text("utf-8").strip()))
    print(f"{target}  {target.stat().st_size} bytes  sha256 {data.sha256(target)}")
