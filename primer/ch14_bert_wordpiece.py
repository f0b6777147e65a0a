r"""Chapter 14. WordPiece: some thousand pieces of words spell every word, rare ones too.

    p_1 = longest head of w in V; p_k = longest ## head of what is left; else [UNK]       (14.19)
    ids = [CLS] p_1 ... p_m [SEP], cut to the longest row allowed, filled up with [PAD]   (14.20)

Symbols     V pieces, the vocabulary; w a word, p_k its k-th piece, written ##p where it does not
            begin the word; B texts in a batch, T tokens in the longest.
Sources     Devlin et al. 2019 (arXiv:1810.04805), sec. 3; google-research/bert's tokenization.py;
            huggingface/tokenizers' bert.rs and wordpiece/mod.rs.
We differ   As in the library and not in Google's script, [MASK] and its like in a text are read as
            the special pieces.
Relations   The n-grams of chapter 12 overlap and are hashed; pieces tile the word, one row each.
            (14.19) is greedy: the cut need not be the likeliest by (14.18).
Kernels     none: a dict and strings.
"""
import re

import numpy as np

from primer.ch14_bert_vocabulary import (
    CLS,
    LONGEST,
    PAD,
    SEP,
    SPECIAL,
    UNKNOWN,
    split_words,
    train_wordpiece,
)

__all__ = ["WordPiece", "batch", "room", "split_word", "split_words", "train_wordpiece"]
IN_TEXT = re.compile(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])")
REMEMBERED = 1 << 16                   # words whose pieces are kept


def split_word(word, vocabulary):
    """The longest known piece first, then of the rest (14.19).  str, set or dict of str -> list of
    str; [UNK] alone if some rest begins with no known piece or the word has over 100 letters."""
    pieces, start = [], 0
    if len(word) > LONGEST:
        return [UNKNOWN]
    while start < len(word):
        for end in range(len(word), start, -1):          # eq. 14.19
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocabulary:
                break
        else:
            return [UNKNOWN]
        pieces.append(piece)
        start = end
    return pieces


class WordPiece:
    """The tokenizer of a vocabulary: a list of pieces, whose places are their ids.

    Raises ValueError if a piece stands twice or one of SPECIAL is missing.
    """

    def __init__(self, vocabulary, lower=True):
        self.vocabulary, self.lower = list(vocabulary), lower
        self.ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        if missing := [piece for piece in SPECIAL if piece not in self.ids]:
            raise ValueError(f"vocabulary: {', '.join(missing)} not in it")
        if len(self.ids) < len(self.vocabulary):
            twice = next(p for i, p in enumerate(self.vocabulary) if self.ids[p] != i)
            raise ValueError(f"vocabulary: {twice!r} stands twice")
        self._known = {}

    def __len__(self):
        return len(self.vocabulary)

    def tokens(self, text):
        """The pieces of a text, without [CLS] and [SEP]  ->  list of str.  TypeError as
        split_words."""
        return [self.vocabulary[i] for i in self._pieces(text)]

    def encode(self, text, most=None):
        """The ids of [CLS], pieces, [SEP] (14.20), at most `most`  ->  list of int.
        ValueError for most below 2, TypeError as split_words."""
        ids = self._pieces(text)
        return [self.ids[CLS], *ids[:room(most, 2, len(ids))], self.ids[SEP]]

    def encode_pair(self, first, second, most=None):
        """[CLS], first, [SEP], second, [SEP]; the longer one is cut first  ->  ids, segments: lists
        of int, segment 0 up to the first [SEP].  ValueError for most below 3, TypeError as
        split_words."""
        a, b = self._pieces(first), self._pieces(second)
        short, left = min(len(a), len(b)), room(most, 3, len(a) + len(b))
        short = min(short, left // 2)
        most_of = (left - short, short) if len(a) > len(b) else (short, left - short)
        a, b = a[:most_of[0]], b[:most_of[1]]
        head, tail = [self.ids[CLS], *a, self.ids[SEP]], [*b, self.ids[SEP]]
        return head + tail, [0] * len(head) + [1] * len(tail)

    def decode(self, ids):
        """Words between blanks, without [CLS], [SEP] and [PAD]: small letters and cut punctuation
        stay  ->  str.  ValueError for an id outside the vocabulary."""
        ids = [int(i) for i in ids]
        if wrong := [i for i in ids if not 0 <= i < len(self)]:
            raise ValueError(f"ids: expected 0 to {len(self) - 1}, got {wrong[0]}")
        pieces = [self.vocabulary[i] for i in ids]
        return " ".join(p for p in pieces if p not in (CLS, SEP, PAD)).replace(" ##", "")

    def _pieces(self, text):
        if not isinstance(text, str) or "[" not in text:
            return self._of_words(split_words(text, self.lower))
        parts = IN_TEXT.split(text)                      # text, special, text, ...
        ids = self._of_words(split_words(parts[0], self.lower))
        for special, after in zip(parts[1::2], parts[2::2], strict=True):
            ids += [self.ids[special], *self._of_words(split_words(after, self.lower))]
        return ids

    def _of_words(self, words):
        out, known = [], self._known
        for word in words:
            ids = known.get(word)
            if ids is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                ids = known[word] = [self.ids[p] for p in split_word(word, self.ids)]
            out += ids
        return out


def room(most, special, length):
    """How many pieces may stay beside the special ones; most None: all.  -> int.
    Raises ValueError if not even the special ones fit."""
    if most is None:
        return length
    if most < special:
        raise ValueError(f"most: expected {special} or more, for [CLS] and [SEP], got {most}")
    return min(length, most - special)


def batch(lists, pad=0):
    """Rows of ids, filled up with [PAD] (14.20).  B lists of int -> ids (B, T) int32, mask (B, T)
    bool: True for a token.  Raises ValueError for no list, or only empty ones."""
    lengths = np.array([len(ids) for ids in lists], np.int64)                     # (B,)
    if not lengths.any():
        raise ValueError("lists: expected at least one list with an id in it")
    mask = np.arange(lengths.max()) < lengths[:, None]                            # (B, T)
    ids = np.full(mask.shape, pad, np.int32)                                      # (B, T)
    ids[mask] = np.concatenate([np.asarray(row, np.int32) for row in lists])
    return ids, mask
