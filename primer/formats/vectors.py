"""Word vectors in text and in binary: word2vec, GloVe, fastText's .vec.

word2vec text    "V d", then a line for each word: the word, a blank, d numbers (also fastText .vec)
GloVe text       the same without the first line
word2vec binary  "V d" and a newline, then for each word: the word, a blank, d float32, a newline

V words, d numbers each; words are UTF-8, binary numbers little-endian.  word2vec.c ends the lines
of text with a blank, and gensim leaves out the newlines of binary: both are read.  Numbers are
written with nine digits, which give every float32 back.  A name that ends in .gz is gzipped.

Sources  word2vec.c (function TrainModel), GloVe's glove.c (save_params), gensim's KeyedVectors.
"""
import difflib
import warnings
from functools import partial

import numpy as np

from primer.formats.files import BLOCK, LONGEST, check_size, decoded, encoded, opened, replaced

SEARCHED = 20_000                  # words looked through for the nearest ones


class WordVectors:
    """V words and a vector of d numbers for each.  vectors: (V, d) float32.

    Raises ValueError if there are not as many vectors as words, or if a word stands twice.
    """

    def __init__(self, words, vectors):
        self.words = list(words)
        self.vectors = np.asarray(vectors, np.float32)                # (V, d)
        self._index = {word: i for i, word in enumerate(self.words)}
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words):
            raise ValueError(f"{len(self.words)} words and an array {self.vectors.shape}: one row "
                             "for each word is needed")
        if len(self._index) < len(self.words):
            word = next(w for i, w in enumerate(self.words) if self._index[w] != i)
            raise ValueError(f"the word {word!r} stands twice")

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self._index

    def index(self, word):
        """Row of a word  ->  int.  Raises KeyError with the nearest words for an unknown one."""
        if word not in self._index:
            raise KeyError(f"no word {word!r}; {self._nearest(str(word))}")
        return self._index[word]

    def __getitem__(self, word):
        """Vector of a word  ->  (d,), a view.  Raises KeyError for an unknown one."""
        return self.vectors[self.index(word)]                         # (d,)

    def _nearest(self, word):
        near = [w for w in (word.lower(), word.capitalize(), word.upper()) if w in self._index]
        near += difflib.get_close_matches(word, self.words[:SEARCHED], n=3, cutoff=0.6)
        return (f"did you mean {' or '.join(list(dict.fromkeys(near))[:3])}?" if near else
                f"none of the {len(self)} words is near it")


# ---- reading ------------------------------------------------------------------------------------

def read_word2vec_text(path, errors="strict"):
    """Read word2vec text or fastText's .vec  ->  WordVectors.

    Of a word that stands twice the first row is kept (as in gensim), with a warning.  A word may
    hold blanks if the piece before its numbers is no number.  errors: what to do with words that
    are not UTF-8, as in bytes.decode ("surrogateescape" keeps their bytes).  Raises ValueError,
    which names the line, for a wrong header, too few or too many rows or numbers, text, NaN or
    infinity where a number should be.  A last number cut short cannot be seen.
    """
    with opened(path) as file:
        n, d = _header(file, path)
        check_size(path, n * (2 * d + 1), f"{n} rows of {d} numbers")
        return _collect(_text_rows(file, path, d, 2), "line", path, (n, d), errors)


def read_glove(path, errors="strict"):
    """Read GloVe text, which has no header  ->  WordVectors.  All else as read_word2vec_text.

    It is read twice, since its lines are counted first.  Raises ValueError for an empty file.
    """
    with opened(path) as file:
        d = len(file.readline(64 * LONGEST).split()) - 1
        if d < 1:
            raise ValueError(f"{path}, line 1: a word and numbers are needed; an empty file?")
        file.seek(0)
        n, last = 0, b"\n"
        while block := file.read(BLOCK):
            n, last = n + block.count(b"\n"), block[-1:]
        file.seek(0)
        n += last != b"\n"
        return _collect(_text_rows(file, path, d, 1), "line", path, (n, d), errors)


def read_word2vec_binary(path, errors="strict"):
    """Read word2vec binary, with or without newlines  ->  WordVectors.

    Words, errors and doubles as in read_word2vec_text.  Raises ValueError, which names the byte,
    for a wrong header, a file that ends too early or too late, NaN or infinity.
    """
    with opened(path) as file:
        n, d = _header(file, path)
        check_size(path, n * (4 * d + 1), f"{n} rows of {d} numbers")
        return _collect(_binary_rows(file, path, n, d), "byte", path, (n, d), errors)


def _header(file, path):
    """The first line  ->  (V, d)."""
    line = file.readline(LONGEST)
    if not is_header(line):
        raise ValueError(f"{path}, line 1: the header should be two whole numbers, how many words "
                         f"and how long the vectors are, not {line[:40]!r}")
    n, d = map(int, line.split())
    if d == 0:
        raise ValueError(f"{path}, line 1: vectors of 0 numbers")
    return n, d


def is_header(line):
    """Whether a line is "V d", so that word2vec and not GloVe wrote it  ->  bool."""
    fields = line[:LONGEST].split()
    return len(fields) == 2 and all(f.isdigit() and len(f) < 16 for f in fields)


def _text_rows(file, path, d, first):
    """Yield (line number, word, row of d numbers)."""
    readline = partial(file.readline, LONGEST + 64 * d)  # no line at all: not all of the file
    for number, line in enumerate(iter(readline, b""), first):
        word, _, rest = line.partition(b" ")
        fields = rest.split()
        if len(fields) != d:
            word, fields = _word_with_blanks(line, d, f"{path}, line {number}")
            rest = b" ".join(fields)
        try:
            with np.errstate(over="ignore"):             # infinity is refused in a moment
                row = np.array(fields, np.float32)                    # (d,)
            if b"_" in rest:                             # Python takes 1_000 for a number
                raise ValueError(f"no number: {next(f for f in fields if b'_' in f)!r}")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        yield number, word, row


def _word_with_blanks(line, d, place):
    """A line with more fields than 1 + d  ->  (word, d fields), or ValueError."""
    pieces = line.rstrip().rsplit(b" ", d)
    before = pieces[0].rpartition(b" ")[2]
    if len(pieces) <= d or before == pieces[0] or _is_number(before):
        raise ValueError(f"{place}: a word and {d} numbers should stand here, with a blank between "
                         f"each two, not {len(line.split())} fields; truncated?")
    return pieces[0], pieces[1:]


def _is_number(field):
    try:
        return float(field) is not None
    except ValueError:
        return False


def _binary_rows(file, path, n, d):
    """Yield (byte, word, row of d numbers) n times."""
    start, at, block = file.tell(), 0, b""               # block[at] is byte start + at of the file
    for number in range(n):
        while (blank := block.find(b" ", at)) < 0 or len(block) < blank + 1 + 4 * d:
            more = file.read(max(BLOCK, 4 * d))
            if not more:
                raise ValueError(f"{path}, byte {start + len(block)}: the file ends after {number} "
                                 f"of {n} words; truncated?")
            start, at, block = start + at, 0, block[at:] + more
            if blank < 0 and len(block) - len(more) > LONGEST:
                raise ValueError(f"{path}, byte {start}: a word of more than {LONGEST} bytes")
        row = np.frombuffer(block, "<f4", d, blank + 1)               # (d,)
        yield start + at, block[at:blank].removeprefix(b"\n"), row
        at = blank + 1 + 4 * d
    if rest := (block[at:] + file.read(2)).removeprefix(b"\n"):
        raise ValueError(f"{path}, byte {start + at}: {rest[:20]!r} follows the last of {n} words")


def _collect(rows, unit, path, shape, errors):
    """Pairs of a word and its row, as promised by `shape`  ->  WordVectors."""
    vectors, words, read, at = np.empty(shape, np.float32), {}, 0, 0          # (V, d)
    for at, word, row in rows:
        if read == shape[0]:
            raise ValueError(f"{path}, {unit} {at}: the header promises {shape[0]} words, and here "
                             "is one more")
        read += 1
        name = decoded(word, errors, f"{path}, {unit} {at}")
        if not np.isfinite(row).all():
            raise ValueError(f"{path}, {unit} {at}: the vector of {name!r} has NaN or infinity")
        if not name:
            raise ValueError(f"{path}, {unit} {at}: a row without a word")
        if name not in words:
            vectors[len(words)] = row
            words[name] = None
    if read < shape[0]:
        raise ValueError(f"{path}, {unit} {at}: the file ends after {read} of {shape[0]} words; "
                         "truncated?")
    if len(words) < read:
        warnings.warn(f"{path}: {read - len(words)} rows have a word that came before; the first "
                      "of each was kept", stacklevel=3)
    return WordVectors(words, vectors[:len(words)])


# ---- writing ------------------------------------------------------------------------------------

def _checked_rows(vectors, errors):
    """Yield (word in bytes, row) of WordVectors, all checked."""
    for word, row in zip(vectors.words, vectors.vectors, strict=True):
        if not np.isfinite(row).all():
            raise ValueError(f"the vector of {word!r} has NaN or infinity")
        yield encoded(word, errors), row


def write_word2vec_text(path, vectors, errors="strict"):
    """Write word2vec text (fastText's .vec)  ->  nothing.  vectors: WordVectors.

    Raises ValueError for a word that `encoded` refuses, and for NaN or infinity.
    """
    with replaced(path) as file:
        file.write(b"%d %d\n" % vectors.vectors.shape)
        _write_lines(file, vectors, errors)


def write_glove(path, vectors, errors="strict"):
    """Write GloVe text  ->  nothing.  Raises ValueError as write_word2vec_text."""
    with replaced(path) as file:
        _write_lines(file, vectors, errors)


def _write_lines(file, vectors, errors):
    numbers = b" %.9g" * vectors.vectors.shape[1] + b"\n"
    for word, row in _checked_rows(vectors, errors):
        file.write(word + numbers % tuple(row.tolist()))


def write_word2vec_binary(path, vectors, errors="strict"):
    """Write word2vec binary, as word2vec.c  ->  nothing.  Raises ValueError as for text."""
    with replaced(path) as file:
        file.write(b"%d %d\n" % vectors.vectors.shape)
        for word, row in _checked_rows(vectors, errors):
            file.write(word + b" " + row.astype("<f4").tobytes() + b"\n")
