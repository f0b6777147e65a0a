"""All data in one register: what is committed, what is fetched, and how to read it.

datasets/datasets.toml lists every dataset with licence, source and checksum.  Small data is
committed beside it; larger data comes on demand, `python -m primer data get NAME`, into the cache:
$PRIMER_DATA, or $XDG_CACHE_HOME/embeddings-primer, or ~/.cache/embeddings-primer (Windows:
%LOCALAPPDATA%\\embeddings-primer).  A fetched folder is there whole or not at all; two processes
that fetch at once wait for each other.  How an archive comes here: primer/fetch.py.
"""
import difflib
import gzip
import json
import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path

import numpy as np

from primer.fetch import SUMS, DataError, fetch_archive, locked, sha256, unpack
from primer.formats import WordVectors

DATASETS = Path(__file__).resolve().parent.parent / "datasets"


# ---- the register -------------------------------------------------------------------------------

@lru_cache
def register():
    """All entries of datasets.toml  ->  dict name: dict."""
    file = DATASETS / "datasets.toml"
    if not file.is_file():
        raise DataError(f"{file} is missing: install from a clone, with pip install -e .")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def entry(name):
    """One entry of the register.  Raises LookupError with the nearest names for an unknown one."""
    if name in register():
        return register()[name]
    near = difflib.get_close_matches(str(name), register(), n=3, cutoff=0.5)
    raise LookupError(f"no dataset is named {name!r}; " + (
        f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(register())}"))


def cache():
    """The folder of fetched data, by the rules at the top of this file."""
    if own := os.environ.get("PRIMER_DATA"):
        return Path(own).expanduser().absolute()
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "embeddings-primer"


def path(name):
    """A committed file, its checksum verified, or a fetched folder  ->  Path.

    Raises LookupError for an unknown name, DataError for data not fetched or damaged.
    """
    if "file" in entry(name):
        return _committed(name)
    folder = _folder(name)
    if not folder.is_dir():
        raise DataError(f"{name} is not fetched yet; run: python -m primer data get {name}")
    return folder


@lru_cache                                               # one checksum a process is enough
def _committed(name):
    file = DATASETS / entry(name)["file"]
    if _state(name) != "ok":
        raise DataError(f"{file} is {'damaged' if file.exists() else 'missing'}; restore it from "
                        f"the repository, or make it again: {entry(name)['made_by']}")
    return file


def _folder(name):
    version = re.split("@|==", entry(name)["carrier"])[-1]
    return cache() / f"{name}-{version}"


def _state(name):
    """ok, not fetched or damaged; reads every byte."""
    if "file" in entry(name):
        file = DATASETS / entry(name)["file"]
        return "ok" if file.is_file() and sha256(file) == entry(name)["sha256"] else "damaged"
    folder = _folder(name)
    if not folder.is_dir():
        return "not fetched"
    try:
        sums = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        good = bool(sums) and all(sha256(folder / line[66:]) == line[:64] for line in sums)
    except (OSError, ValueError):
        good = False
    return "ok" if good else "damaged"


def verify():
    """Check everything  ->  yields (name, "ok" or "not fetched" or "damaged")."""
    for name in register():
        yield name, _state(name)


def listing():
    """What there is  ->  list of dicts: name, title, size (bytes to fetch), licence, where."""
    return [{"name": name, "title": e["title"], "size": e["bytes"], "licence": e["licence"],
             "where": "committed" if "file" in e else
                      "fetched" if _folder(name).is_dir() else "not fetched"}
            for name, e in register().items()]


def get(name, progress=True):
    """Fetch a dataset into the cache unless it is there and whole  ->  Path of its folder.

    A committed dataset is just verified.  Raises LookupError for an unknown name, DataError for
    whatever goes wrong: offline, npm or pip missing, cut off (a second call goes on), wrong
    checksum, corrupt archive, cache not writable, disk full.
    """
    if "file" in entry(name):
        return path(name)
    folder = _folder(name)
    archive = Path(f"{folder}.archive")
    if _state(name) == "ok":
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(f"{folder}.lock", progress):
            if _state(name) != "ok":                     # else another process was faster
                fetch_archive(entry(name), archive, progress)
                unpack(archive, entry(name), folder)
                archive.unlink()
    except OSError as error:
        raise DataError(f"cannot write to the cache folder {cache()} ({error.strerror or error}): "
                        "make room or get the right to write there, or set PRIMER_DATA to another "
                        "folder") from error
    return folder


# ---- reading ------------------------------------------------------------------------------------

def load_sotu():
    """State of the Union addresses by year  ->  list of dicts: year, president, party, paragraphs.

    The paragraphs are passages of about 100 words cut by us: see the register.
    """
    with gzip.open(path("sotu"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def sotu_paragraphs():
    """The same, flat  ->  list of n str, list of n dicts: year, president, party, paragraph."""
    texts, about = [], []
    for address in load_sotu():
        texts += address["paragraphs"]
        about += [{"year": address["year"], "president": address["president"],
                   "party": address["party"], "paragraph": number}
                  for number in range(1, len(address["paragraphs"]) + 1)]
    return texts, about


def load_texts():
    """The text's example sentences  ->  dict name: dict of documents, lines (and senses)."""
    return tomllib.loads(path("texts").read_text(encoding="utf-8"))


def load_opinions():
    """What people think of words  ->  dict word: float from -4 (bad) to 4 (good)."""
    lines = path("opinions").read_text(encoding="utf-8").splitlines()
    return {word: float(valence) for word, valence in
            (line.split("\t") for line in lines if not line.startswith("#"))}


def load_digits():
    """Handwritten digits  ->  images (1797, 64) uint8 of 0 to 16, labels (1797,) int64."""
    with np.load(path("digits"), allow_pickle=False) as stored:
        return stored["images"], stored["labels"].astype(np.int64)   # (1797, 64), (1797,)


def word_pairs(name):
    """wordsim353 or simlex999: pairs of words that people scored by likeness, 0 to 10.
    -> list of n (str, str), scores (n,) float64.  LookupError for another name."""
    files = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
    if name not in files:
        raise LookupError(f"no word pairs are named {name!r}; there are {' and '.join(files)}")
    rows = _rows(path("word-tests") / files[name], 3)
    return [(a, b) for a, b, _ in rows], np.array([score for *_, score in rows], np.float64)


def analogy_questions():
    """Google's analogies by section: a is to b as c is to d  ->  dict str: list of (a, b, c, d)."""
    file, sections = path("word-tests") / "questions-words.txt", {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if words[:1] == [":"] and len(words) > 1:
            rows = sections.setdefault(" ".join(words[1:]), [])
        elif len(words) == 4 and sections:
            rows.append(tuple(words))
        elif words:
            raise ValueError(f"{file}, line {number}: expected ': section' or 4 words, "
                             f"got {line!r}")
    return sections


def derived_words():
    """Words that are rare, with what each is derived from, a word of like meaning, and one of
    unlike meaning  ->  list of (derived, base, alike, unlike)."""
    return [tuple(row) for row in _rows(path("derived_words"), 4)]


def _rows(file, columns):
    """Lines of a table, its comments left out  ->  list of lists of str.  ValueError if damaged."""
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line[:1] not in ("", "#")]
    if bad := [row for row in rows if len(row) != columns]:
        raise ValueError(f"{file}: expected {columns} columns, got {bad[0]}")
    return rows


def load_glove():
    """The 400,000 vectors of 50 numbers that Stanford trained  ->  WordVectors, frequent first.

    Raises DataError if they are not fetched, or without the extra that reads Parquet files.
    """
    folder = path("glove-6b-50d")
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError("the words of glove-6b-50d are in a Parquet file; to read it: "
                        "pip install -e '.[glove]'") from error
    table = parquet.read_table(folder / "glove_6B_index.parquet")
    words = next(c for c in table.columns if str(c.type).endswith("string")).to_pylist()
    return WordVectors(words, np.load(folder / "glove_6B_50d_emb.npy"))


def read_folder(folder, longest=2000):
    """All *.txt and *.md below a folder, sorted  ->  documents, names (lists of str).

    A file of more than `longest` characters is split at blank lines: "notes.md#3" is its third
    paragraph.  Hidden files and folders and files without a word are left out.  Raises
    FileNotFoundError or NotADirectoryError for a bad folder, ValueError for one without text, or
    for a file that is not UTF-8, with the byte where that shows.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    documents, names = [], []
    for name in sorted(_text_files(folder)):
        pieces = _pieces(_read_utf8(folder / name), longest)
        documents += pieces
        names += [name] if len(pieces) == 1 else [f"{name}#{i + 1}" for i in range(len(pieces))]
    if not documents:
        raise ValueError(f"{folder} holds no text: no *.txt or *.md file with a word in it")
    return documents, names


def _pieces(text, longest):
    """A text as it is, or its paragraphs if it is long; none if it is blank."""
    if len(text) <= longest:
        return [text.strip()] if text.strip() else []
    return [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]


def _read_utf8(file):
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")            # a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: byte 0x{raw[error.start]:02x} at offset "
                         f"{error.start}; convert it first") from error


def _text_files(folder):
    """Names below `folder`, relative to it, with forward slashes."""
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            if file.lower().endswith((".txt", ".md")) and not file.startswith("."):
                yield (Path(place) / file).relative_to(folder).as_posix()
