"""fastText's own model file, .bin, and the quantised one, .ftz, format version 12.

All little-endian, nothing between the parts (i4, i8 whole numbers, f4, f8 real ones, u1 a byte):

magic      i4 793712314, i4 version
arguments  12 i4 and an f8, in the order of ARGUMENTS
dictionary i4 entries, i4 words, i4 labels, i8 tokens, i8 pruned; for each entry its bytes, a zero
           byte, i8 count, u1 type (0 word, 1 label; words come first); for each n-gram that pruning
           left, i4 bucket, i4 row.  pruned is -1 for a model that was never pruned
input      u1 quantised, then a matrix: a row for each word, then one for each bucket of n-grams
output     u1 quantised (holds only if the input is too), then a matrix: a row for each label of a
           supervised model, else for each word
matrix     dense:     i8 rows, i8 columns, f4 numbers row by row
           quantised: u1 with norms, i8 rows, i8 columns, i4 bytes of codes, codes, quantiser;
                      with norms: a code for each row, quantiser of width 1
quantiser  i4 width d, i4 parts, i4 width of a part, i4 width of the last one, 256 d f4: for each
           part its 256 centroids

Sources  facebookresearch/fastText: args.cc, dictionary.cc, fasttext.cc, densematrix.cc,
quantmatrix.cc, productquantizer.cc.  Joulin et al. 2016, arXiv 1612.03651 (quantisation).
"""
import struct
from dataclasses import dataclass, field

import numpy as np

from primer.ch12_fasttext import mean_rows, ngram_buckets
from primer.formats.files import BLOCK, Bytes, check_size, decoded, encoded, opened, replaced
from primer.formats.vectors import WordVectors

MAGIC, VERSION = 793712314, 12
HIERARCHICAL, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4        # loss
CBOW, SKIP_GRAM, SUPERVISED = 1, 2, 3                                    # model
ARGUMENTS = {"dim": 100, "ws": 5, "epoch": 5, "minCount": 5, "neg": 5, "wordNgrams": 1,
             "loss": NEGATIVE_SAMPLING, "model": SKIP_GRAM, "bucket": 2_000_000, "minn": 3,
             "maxn": 6, "lrUpdateRate": 100, "t": 1e-4}  # in the file's order, fastText's defaults
CENTROIDS = 256


@dataclass(eq=False)
class FastText:
    """A model of fastText: V words, L labels, d numbers a row."""

    arguments: dict                # as ARGUMENTS; dim is d, bucket the number of rows for n-grams
    words: list                    # V
    counts: np.ndarray             # (V,) int64
    inputs: object                 # (V + bucket, d) float32, or Quantised
    outputs: object                # (V, d) or (L, d) float32, or Quantised; None if not read
    labels: list = field(default_factory=list)           # L
    label_counts: object = ()      # (L,) int64
    tokens: int = 0                # words and labels of the corpus
    pruned: object = None          # dict bucket: row after V, of the n-grams kept; None: all are

    def __post_init__(self):
        self._row = {}             # of a word that stands twice: the first
        for i, word in enumerate(self.words):
            self._row.setdefault(word, i)

    def subword_rows(self, word):
        """Rows of the input that make a word's vector: its own and its n-grams'  ->  list of int.

        An unknown word has n-grams only; what pruning took away is left out.
        """
        rows = [self._row[word]] if word in self._row else []
        about = self.arguments
        if not about["bucket"]:
            return rows
        buckets = ngram_buckets(word, about["minn"], about["maxn"], about["bucket"])
        if self.pruned is not None:
            buckets = [self.pruned[b] for b in buckets if b in self.pruned]
        return rows + [len(self.words) + b for b in buckets]

    def word_vector(self, word):
        """Mean of the rows that make a word's vector  ->  (d,) float32; zeros if there is none."""
        rows = np.array(self.subword_rows(word), np.int64)            # (k,)
        return mean_rows(self.inputs, [0, len(rows)], rows)[0]        # (d,)

    def word_vectors(self):
        """The vectors of all words  ->  WordVectors."""
        vectors = np.empty((len(self._row), self.arguments["dim"]), np.float32)   # (V, d)
        for i, word in enumerate(self._row):
            vectors[i] = self.word_vector(word)
        return WordVectors(self._row, vectors)


@dataclass
class Quantised:
    """A matrix of codes: a row is, part by part, the centroid that its code names, times its norm.
    """

    codes: np.ndarray              # (rows, parts) uint8
    centroids: list                # for each part (256, width) float32
    norms: object = None           # (rows,) float32, or None: all 1

    @property
    def shape(self):
        """(rows, columns)."""
        return len(self.codes), sum(c.shape[1] for c in self.centroids)

    def __getitem__(self, rows):
        """Dequantised rows, for any index of rows  ->  (..., d) float32."""
        parts = [c[self.codes[rows, i]] for i, c in enumerate(self.centroids)]
        out = np.concatenate(parts, axis=-1)                          # (..., d)
        return out if self.norms is None else out * self.norms[rows][..., None]


# ---- reading ------------------------------------------------------------------------------------

def is_fasttext(first):
    """Whether a file's first bytes are fastText's magic number  ->  bool."""
    return first[:4] == struct.pack("<i", MAGIC)


def read_fasttext(path, errors="strict", outputs=True):
    """Read a model of fastText, .bin or .ftz  ->  FastText.

    outputs=False leaves the output matrix on the disk.  errors: as in read_word2vec_text.
    Raises ValueError, which names the byte, for another format or version, a file that ends too
    early or too late, sizes that do not fit together, NaN or infinity.
    """
    with opened(path) as file:
        data = Bytes(file, path)
        magic, version = data.numbers("2i")
        if magic != MAGIC or version != VERSION:
            raise ValueError(f"{path}: " + (f"version {version} of fastText's format; version "
                             f"{VERSION} is known" if magic == MAGIC else
                             "does not begin with fastText's magic number"))
        arguments = dict(zip(ARGUMENTS, data.numbers("12id"), strict=True))
        model = FastText(arguments, *_dictionary(data, errors))
        quantised = data.numbers("?")[0]
        model.inputs = _matrix(data, quantised)
        kept = arguments["bucket"] if model.pruned is None else len(model.pruned)
        _check_shape(data, "input", model.inputs, len(model.words) + kept, arguments["dim"])
        if max((model.pruned or {0: -1}).values()) >= kept:
            raise data.wrong("a pruned n-gram's row lies outside the input matrix")
        quantised = data.numbers("?")[0] and quantised
        model.outputs = _matrix(data, quantised, outputs)
        if outputs:
            rows = model.labels if arguments["model"] == SUPERVISED else model.words
            _check_shape(data, "output", model.outputs, len(rows), arguments["dim"])
        if more := file.read(20):
            raise data.wrong(f"{more!r} follows the end of the model")
        return model


def _check_shape(data, name, matrix, rows, d):
    if matrix.shape != (rows, d):
        raise data.wrong(f"the {name} matrix has shape {matrix.shape}; words, labels, buckets and "
                         f"dim need {(rows, d)}")


def _dictionary(data, errors):
    """-> words, counts, None for inputs, None for outputs, labels, label counts, tokens, pruned."""
    entries, n_words, n_labels, tokens, pruned = data.numbers("3i2q")
    if entries != n_words + n_labels or min(n_words, n_labels, pruned + 1) < 0:
        raise data.wrong(f"{entries} entries, {n_words} words, {n_labels} labels, {pruned} pruned")
    check_size(data.path, data.at + 10 * entries, f"{entries} entries of the dictionary")
    names, counts = [], np.empty(entries, np.int64)                   # (V + L,)
    for i in range(entries):
        names.append(decoded(data.word(), errors, f"{data.path}, byte {data.at}"))
        counts[i], kind = data.numbers("qb")
        if kind != (i >= n_words):
            raise data.wrong(f"entry {i} has type {kind}; {n_words} words (0) should come first, "
                             "then the labels (1)")
    pairs = data.array("<i4", 2 * max(pruned, 0)).reshape(-1, 2)      # (pruned, 2)
    if (pairs < 0).any():
        raise data.wrong("a pruned n-gram has a negative bucket or row")
    return (names[:n_words], counts[:n_words], None, None, names[n_words:],
            counts[n_words:], tokens, None if pruned < 0 else dict(pairs.tolist()))


def _matrix(data, quantised, keep=True):
    """-> (rows, d) float32 or Quantised; keep=False: read over it -> None."""
    normed = data.numbers("?")[0] if quantised else False
    rows, d = data.numbers("2q")
    if rows < 0 or d < 1:
        raise data.wrong(f"a matrix of {rows} rows and {d} columns")
    if not quantised:
        out = data.array("<f4", rows * d, keep)
        if keep and not all(np.isfinite(out[i:i + BLOCK]).all() for i in range(0, rows * d, BLOCK)):
            raise data.wrong("the matrix that ends here has NaN or infinity")
        return out.reshape(rows, d) if keep else None                 # (rows, d)
    size, = data.numbers("i")
    codes = data.array("u1", size)
    centroids = _quantiser(data, d)
    if size != rows * len(centroids):
        raise data.wrong(f"{size} codes for {rows} rows of {len(centroids)} parts")
    norms = None
    if normed:
        norm_codes = data.array("u1", rows)                           # (rows,)
        norms = _quantiser(data, 1)[0][norm_codes, 0]                 # (rows,)
    out = Quantised(codes.reshape(rows, len(centroids)), centroids, norms)
    return out if keep else None


def _quantiser(data, d):
    """-> list of (256, width) float32, one for each part."""
    width, parts, part, last = data.numbers("4i")
    if width != d or part < 1 or parts != -(-d // part) or last != d - (parts - 1) * part:
        raise data.wrong(f"a quantiser of {width} numbers in {parts} parts of {part}, the last of "
                         f"{last}, for vectors of {d}")
    centroids = data.array("<f4", CENTROIDS * d)
    if not np.isfinite(centroids).all():
        raise data.wrong("a centroid has NaN or infinity")
    cuts = CENTROIDS * part * np.arange(1, parts)
    return [c.reshape(CENTROIDS, -1) for c in np.split(centroids, cuts)]      # (256, width)


# ---- writing ------------------------------------------------------------------------------------

def write_fasttext(path, model, errors="strict"):
    """Write a model that is not quantised as .bin  ->  nothing.

    Raises ValueError for a quantised or pruned one, for one without its output matrix, for shapes
    that do not fit together, NaN or infinity, and words that `encoded` refuses or that stand twice.
    """
    about, names = model.arguments, [*model.words, *model.labels]
    n_out = len(model.labels if about["model"] == SUPERVISED else model.words)
    _check_dense("input", model.inputs, len(model.words) + about["bucket"], about["dim"])
    _check_dense("output", model.outputs, n_out, about["dim"])
    counts = [*map(int, model.counts), *map(int, model.label_counts)]
    if model.pruned is not None or len(counts) != len(names) or len(set(names)) < len(names):
        raise ValueError("fastText wants no pruned n-grams beside dense matrices, a count for each "
                         "word and label, and none of them twice")
    with replaced(path) as file:
        file.write(struct.pack("<2i12id", MAGIC, VERSION, *(about[name] for name in ARGUMENTS)))
        file.write(struct.pack("<3i2q", len(names), len(model.words), len(model.labels),
                               model.tokens, -1))
        for i, (name, count) in enumerate(zip(names, counts, strict=True)):
            file.write(encoded(name, errors))
            file.write(struct.pack("<bqb", 0, count, i >= len(model.words)))
        for matrix in (model.inputs, model.outputs):
            file.write(struct.pack("<b2q", 0, *matrix.shape))
            for start in range(0, len(matrix), BLOCK):
                file.write(np.asarray(matrix[start:start + BLOCK], "<f4").tobytes())


def _check_dense(name, matrix, rows, d):
    if not isinstance(matrix, np.ndarray) or matrix.shape != (rows, d):
        raise ValueError(f"the {name} matrix should be an array {(rows, d)}, not "
                         f"{getattr(matrix, 'shape', matrix)}")
    if not all(np.isfinite(matrix[i:i + BLOCK]).all() for i in range(0, rows, BLOCK)):
        raise ValueError(f"the {name} matrix has NaN or infinity")
