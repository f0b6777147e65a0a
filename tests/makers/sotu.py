"""Make datasets/sotu.jsonl.gz: one address a line, cut into passages of whole sentences.

    python -m tests.makers.sotu              fetches the source (register entry sotu_raw) first
    python -m tests.makers.sotu FOLDER       takes the *.json files of a folder

The source has each address as one line of text, its paragraph breaks lost (two addresses keep a
trace of them: 2018 two blanks, 2017 no blank at all). So the passages are ours:

* A sentence ends at . ! or ? (and closing quotes or brackets) before white space and a capital,
  digit, quote or bracket; not after an abbreviation (ABBREVIATIONS) or a single initial
  ("U.S.", "J. Smith"): rather two sentences in one than one cut in two.
* A sentence goes to the open passage unless that moves the passage further from 100 words;
  a last passage of under 50 words joins the one before.

Nothing of the text is changed but white space between sentences and the REPAIRS below.
"""
import gzip
import html
import json
import re
import sys
from pathlib import Path

from primer import data

WORDS = 100                        # a passage's length aimed at
SHORTEST = 50                      # a shorter last passage joins the one before
ABBREVIATIONS = frozenset("""
    Mr Mrs Ms Messrs Dr Hon Rev Prof Esq Jr Sr St Mt Ft Pres Gen Brig Col Maj Capt Lieut Lt Sgt
    Adm Gov Sen Rep No Nos Art Sec Vol Ch Stat Co Corp Inc Ltd Bros cf vs viz etc
    Jan Feb Aug Sept Oct Nov Dec""".split())
SENTENCE_END = re.compile(r"""(?<=[.!?])["'”’)\]]*(?:\s+(?=["'“‘(\[$]*[A-Z0-9])|(?=[A-Z][a-z ]))""")
REPAIRS = {"1\x02 per cent": "1/2 per cent"}         # 1890: an old code page's fraction
NAMES = {"William Mc Kinley": "William McKinley"}


def sentences(text):
    """Cut a text into whole sentences; joined with blanks they are the text again."""
    out, start = [], 0
    for end in SENTENCE_END.finditer(text):
        last = text[start:end.start()].rsplit(maxsplit=1)[-1].lstrip("([\"'“‘")
        if last.endswith(".") and (last[:-1] in ABBREVIATIONS
                                   or re.fullmatch(r"(?:[A-Za-z]\.)+", last)):
            continue
        out.append(text[start:end.end()].strip())
        start = end.end()
    return out + [text[start:].strip()] if text[start:].strip() else out


def passages(text):
    """Group consecutive sentences into passages of about WORDS words."""
    out, length = [], 0
    for sentence in sentences(text):
        n = len(sentence.split())
        if out and abs(length + n - WORDS) <= abs(length - WORDS):
            out[-1].append(sentence)
            length += n
        else:
            out.append([sentence])
            length = n
    if len(out) > 1 and length < SHORTEST:
        last = out.pop()
        out[-1] += last
    return [" ".join(p) for p in out]


def address(source):
    """One record of the register's file from one record of the source."""
    text = html.unescape(source["text"])                  # 1890 has &quot; and &mdash;
    for old, new in REPAIRS.items():
        text = text.replace(old, new)
    paragraphs = passages(text)
    assert "".join("".join(paragraphs).split()) == "".join(text.split()), source["year"]
    return {"year": source["year"], "president": NAMES.get(source["name"], source["name"]),
            "party": "" if source["party"] == "none" else source["party"],
            "paragraphs": paragraphs}


def build(folder):
    """The bytes of sotu.jsonl.gz from the folder of the source's *.json files."""
    files = sorted(Path(folder).glob("*.json"))           # names begin with the year
    records = [address(json.loads(f.read_text(encoding="utf-8"))) for f in files]
    records.sort(key=lambda r: r["year"])                 # stable: 1953 and 1961 have two
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    return gzip.compress(lines.encode("utf-8"), compresslevel=9, mtime=0)


if __name__ == "__main__":
    source = sys.argv[1] if len(sys.argv) > 1 else data.get("sotu_raw") / "data"
    target = data.DATASETS / "sotu.jsonl.gz"
    target.write_bytes(build(source))
    print(f"{target}  {target.stat().st_size} bytes  sha256 {data.sha256(target)}")
