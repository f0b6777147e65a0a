"""Files that other tools read and write.

wordnet.py    WordNet's dict folder and our excerpt of it
vectors.py    word vectors: word2vec and GloVe text, word2vec binary
fasttext.py   whole models of fastText, also the quantised ones
encoders.py   sentence encoders: BERTs such as all-MiniLM-L6-v2, with their tokenizer
files.py      what these share

read_vectors and write_vectors choose by the ending; .gz may follow each of them:

.vec          word2vec text
.txt          word2vec text; read: GloVe text if the first line is no header
.glove        GloVe text
.bin          word2vec binary, or a fastText model if it begins with fastText's magic number
.ftz          a quantised fastText model, only read
"""
from pathlib import Path

from primer.formats.fasttext import FastText, is_fasttext, read_fasttext, write_fasttext
from primer.formats.files import opened
from primer.formats.vectors import (
    WordVectors,
    is_header,
    read_glove,
    read_word2vec_binary,
    read_word2vec_text,
    write_glove,
    write_word2vec_binary,
    write_word2vec_text,
)
from primer.formats.wordnet import Synset, read_wordnet, read_wordnet_excerpt

__all__ = ["FastText", "Synset", "WordVectors", "check_ending", "read_fasttext", "read_glove",
           "read_model", "read_vectors", "read_word2vec_binary", "read_word2vec_text",
           "read_wordnet", "read_wordnet_excerpt", "write_fasttext", "write_glove",
           "write_vectors", "write_word2vec_binary", "write_word2vec_text"]
ENDINGS = (".vec", ".txt", ".glove", ".bin", ".ftz")


def read_vectors(path, errors="strict"):
    """Read word vectors, the format chosen by the ending and the first bytes  ->  WordVectors.

    Of a fastText model these are its words' vectors, n-grams included.  Raises ValueError for an
    unknown ending and for all that the readers refuse.
    """
    found = read_model(path, errors)
    return found.word_vectors() if isinstance(found, FastText) else found


def read_model(path, errors="strict"):
    """The same, but a fastText model as it is, without its output matrix  ->  WordVectors or
    FastText, which has vectors for unknown words too."""
    ending = check_ending(path)
    with opened(path) as file:
        first = file.readline(100)
    if ending in (".bin", ".ftz"):
        if is_fasttext(first):
            return read_fasttext(path, errors, outputs=False)
        if ending == ".ftz" or not is_header(first):
            raise ValueError(f"{path}: begins with {first[:8]!r}, neither fastText's magic number "
                             "nor the header of word2vec binary")
        return read_word2vec_binary(path, errors)
    glove = ending == ".glove" or ending == ".txt" and not is_header(first)
    return (read_glove if glove else read_word2vec_text)(path, errors)


def write_vectors(path, vectors, errors="strict"):
    """Write WordVectors, or a FastText model, by the ending  ->  nothing.

    A model becomes a model in .bin, and its words' vectors elsewhere.  The file appears whole or
    not at all.  Raises ValueError for an unknown ending, .ftz, and all that the writers refuse.
    """
    ending = check_ending(path)
    if ending == ".ftz":
        raise ValueError(f"{path}: quantised models are only read")
    if isinstance(vectors, FastText):
        if ending == ".bin":
            return write_fasttext(path, vectors, errors)
        vectors = vectors.word_vectors()
    write = {".glove": write_glove, ".bin": write_word2vec_binary}.get(ending, write_word2vec_text)
    return write(path, vectors, errors)


def check_ending(path):
    """The ending that names the format  ->  str.  Raises ValueError for an unknown one."""
    path = Path(path)
    ending = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path}: the ending should be one of {' '.join(ENDINGS)}, and .gz may "
                         "follow it")
    return ending
