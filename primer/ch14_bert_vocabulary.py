r"""Chapter 14. A vocabulary of pieces: learnt so that common words are whole and rare ones spelled.

    L = sum_p c_p ln(c_p / N); join the neighbours a, b whose joining raises L most       (14.18)

Symbols     p a piece of a word, ##p where it does not begin the word; c_p, or c_a, how often it
            stands in the training text, N = sum_p c_p; n how often a stands before b, c_ab how
            often ab is there already; V pieces, m pairs.
Sources     M. Schuster and K. Nakajima 2012 (doi:10.1109/ICASSP.2012.6289079), sec. 3; Wu et al.
            2016 (arXiv:1609.08144), sec. 4.1; google-research/bert's tokenization.py;
            huggingface/tokenizers' bert.rs.
We differ   The text says nothing of how BERT cuts words.  Google's training was never published:
            (14.18) is what the papers say of it.  The tokenizers library joins the most frequent
            pair (n alone: byte pair encoding); its course takes n / (c_a c_b), nearly the gain of
            one joining, and so joins the rarest first.  As that library and not as Google's
            script, letters become small one by one (no final sigma).
Relations   Chapter 8's phrases join words by n / (c_a c_b), above a least count.
Kernels     none: a dict and strings, and NumPy over the pairs.
"""
import math
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise

import numpy as np

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST = 100                          # letters of a word; longer ones are [UNK]
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
       (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


# ---- text to words ------------------------------------------------------------------------------

class _Letters(dict):
    """For str.translate: what becomes of a letter, worked out where it is first met."""

    def __init__(self, rule):
        self.rule = rule

    def __missing__(self, code):
        self[code] = out = self.rule(chr(code))
        return out


def clean_letter(letter):
    """Nothing of a control character, a blank of each blank, blanks around a Chinese character.
    One letter -> str."""
    if letter in "\t\n\r" or letter.isspace() and unicodedata.category(letter) != "Cc":
        return " "
    if letter == "\ufffd" or unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    return f" {letter} " if any(a <= ord(letter) <= b for a, b in CJK) else letter


def is_punctuation(letter):
    """Whether BERT cuts here: Unicode's punctuation, and all else of ASCII that is no letter, digit
    or blank, such as $ and +.  One letter -> bool."""
    return ("!" <= letter <= "~" and not letter.isalnum()
            or unicodedata.category(letter)[0] == "P")


def fold_letter(letter):
    """Nothing of an accent, small letters for capitals, blanks around punctuation.
    One letter -> str."""
    if unicodedata.category(letter) == "Mn":
        return ""
    return f" {letter} " if is_punctuation(letter) else letter.lower()


def _cut_letter(letter):
    return f" {letter} " if is_punctuation(letter) else letter


@lru_cache
def _tables():
    return _Letters(clean_letter), _Letters(fold_letter), _Letters(_cut_letter)


def split_words(text, lower=True):
    """A text's words, as BERT cuts them: punctuation and Chinese characters stand alone; lower:
    small letters without accents.  str -> list of str.  TypeError if text is not a str."""
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}; decode bytes first")
    clean, fold, cut = _tables()
    text = text.translate(clean)
    if lower:                                            # é becomes e and an accent, which goes
        return unicodedata.normalize("NFD", text).translate(fold).split()
    return text.translate(cut).split()


def count_words(documents, lower=True):
    """How often each word stands in texts, but those of over 100 letters.  -> Counter.
    TypeError as split_words."""
    runs, counts = Counter(), Counter()
    for text in documents:                               # each run between blanks is cut once
        runs.update(text.split(" ") if isinstance(text, str) else split_words(text))
    for run, times in runs.items():
        for word in split_words(run, lower):
            if len(word) <= LONGEST:
                counts[word] += times
    return counts


# ---- training -----------------------------------------------------------------------------------

def log_likelihood(counts):
    """L of a text cut into pieces that are drawn one by one, as often as they stand in it (14.18).
    (V,) whole numbers -> float."""
    return float(_x_ln_x(counts).sum() - _x_ln_x(np.sum(counts)))


def joining_gain(n, c_a, c_b, c_ab, N):
    """How L (14.18) rises if a piece ab takes the place of n pairs; c_ab of them are there already.
    c_a, c_b: (m,) counts before that, of a pair a a both the same  ->  (m,) for a unlike b."""
    return (_x_ln_x(c_ab + n) - _x_ln_x(c_ab) + _x_ln_x(c_a - n) - _x_ln_x(c_a)
            + _x_ln_x(c_b - n) - _x_ln_x(c_b) + _x_ln_x(N) - _x_ln_x(N - n))      # (m,)  eq. 14.18


def doubling_gain(n, c_a, c_ab, N):
    """The same for pairs of equal pieces, a a: 2 n of them go (14.18).  (m,) -> (m,)."""
    return (_x_ln_x(c_ab + n) - _x_ln_x(c_ab) + _x_ln_x(c_a - 2 * n) - _x_ln_x(c_a)
            + _x_ln_x(N) - _x_ln_x(N - n))                                        # (m,)


def _x_ln_x(x):
    x = np.asarray(x, np.float64)
    return x * np.log(np.maximum(x, 1))                  # whole numbers: 0 ln 0 = 0


class _Spelling:
    """Words cut into pieces, with the counts of all pieces and pairs of neighbours."""

    def __init__(self, counts):
        self.ids, self.names, self.c = {}, [], np.zeros(1 << 10, np.int64)        # (V,)
        self.pairs, self.where = {}, []          # (a, b): slot; its words, some no longer with it
        self.makers = {}                         # ab: slots of all pairs that spell it
        self.table = np.zeros((4, 1 << 12), np.int64)                 # a, b, ab, n of each slot
        self.most = np.full(1 << 12, -np.inf)    # of each slot: its gain is at most that
        self.times, self.N = list(counts.values()), 0
        self.words = [[self._id(c if i == 0 else f"##{c}") for i, c in enumerate(word)]
                      for word in counts]
        self.letters = list(self.names)
        self.log_n = 1 + math.log(sum(len(w) * t for w, t in zip(counts, self.times, strict=True)))
        self.more_c, self.more_n = defaultdict(int), defaultdict(int)
        for word in range(len(self.words)):
            self._count(word, 1)
        self._settle()
        self.near = np.zeros(1, np.int64)        # slots that were good a step ago

    def _id(self, piece):
        if piece not in self.ids:
            self.ids[piece] = len(self.names)
            self.names.append(piece)
            self.c = _with_room(self.c, len(self.names))
        return self.ids[piece]

    def _new_slot(self, a, b):
        slot = self.pairs[a, b] = len(self.where)
        self.where.append(set())
        self.table, self.most = (_with_room(x, slot + 1) for x in (self.table, self.most))
        ab = self._id(self.names[a] + self.names[b][2:])
        self.table[:3, slot] = a, b, ab
        self.makers.setdefault(ab, []).append(slot)
        return slot

    def _count(self, word, sign):
        """Note what a word adds to the counts of pieces and pairs, or takes from them."""
        pieces, times, before = self.words[word], sign * self.times[word], None
        slots, where, more_c, more_n = self.pairs, self.where, self.more_c, self.more_n
        self.N += times * len(pieces)
        for piece in pieces:
            more_c[piece] += times
        for pair in pairwise(pieces):
            if pair == before:                   # a a a has one a a to join, a a a a two
                before = None
                continue
            before, slot = pair, slots.get(pair)
            if slot is None:
                slot = self._new_slot(*pair)
            more_n[slot] += times
            if sign > 0:
                where[slot].add(word)

    def _settle(self):
        """Add what was noted.  A slot's limit: n (1 + ln N/n), which c_a = c_b = n would give; none
        if ab is there already."""
        pieces = np.fromiter(self.more_c, np.int64)                   # (V',)
        self.c[pieces] += np.fromiter(self.more_c.values(), np.int64)
        slots = np.fromiter(self.more_n, np.int64)                    # (m,)
        self.table[3, slots] += np.fromiter(self.more_n.values(), np.int64)
        n = self.table[3, slots]
        limit = n * (self.log_n - np.log(np.maximum(n, 1)))           # (m,)
        limit[self.c[self.table[2, slots]] > 0] = np.inf
        self.most[slots] = np.where(n > 0, limit, -np.inf)
        self.more_c.clear()
        self.more_n.clear()

    def _gains(self, slots):
        a, b, ab, n = self.table[:, slots]                            # (m,) each
        return np.where(a == b, doubling_gain(n, self.c[a], self.c[ab], self.N),
                        joining_gain(n, self.c[a], self.c[b], self.c[ab], self.N))

    def join_best(self):
        """Join the pair that raises L most wherever it stands  ->  the piece, None if none does."""
        if not self.pairs:
            return None
        least = self._gains(self.near).max()
        slots = np.flatnonzero(self.most[:len(self.where)] > least - 1e-6)        # (m,)
        gains = self._gains(slots)                                    # (m,)
        if not gains.size or gains.max() <= 0:
            return None
        self.near = slots[np.argsort(-gains)[:64]]
        best = slots[gains.argmax()]
        a, b, ab, _ = map(int, self.table[:, best])
        for word in sorted(self.where[best]):
            self._count(word, -1)
            self.words[word] = _joined(self.words[word], a, b, ab)
            self._count(word, 1)
        self.where[best].clear()
        self.more_n.update({slot: self.more_n[slot] for slot in self.makers[ab]})
        self._settle()
        return self.names[ab]


def _joined(pieces, a, b, ab):
    """Neighbours a, b become ab, from the left."""
    out, i = [], 0
    while i < len(pieces):
        both = pieces[i] == a and i + 1 < len(pieces) and pieces[i + 1] == b
        out.append(ab if both else pieces[i])
        i += 1 + both
    return out


def _with_room(array, size):
    """The array, twice as long where it is too short."""
    if size <= array.shape[-1]:
        return array
    return np.concatenate([array, np.zeros_like(array)], axis=-1)


def train_wordpiece(documents, size, lower=True):
    """A vocabulary of `size` pieces: SPECIAL, the letters, then joinings, best first (14.18).
    Texts -> list of str, shorter if no joining raises L any more.

    Of equal gains the pair met first wins.  Raises ValueError if there is no word, or `size` is too
    small for the letters.
    """
    counts = count_words(documents, lower)
    if not counts:
        raise ValueError("documents: expected at least one word")
    spelling = _Spelling(counts)
    letters = sorted(spelling.letters)
    if size < len(SPECIAL) + len(letters):
        raise ValueError(f"size: expected {len(SPECIAL) + len(letters)} or more, for the letters of"
                         f" these documents, got {size}")
    vocabulary = dict.fromkeys([*SPECIAL, *letters])
    while len(vocabulary) < size and (piece := spelling.join_best()):
        vocabulary[piece] = None
    return list(vocabulary)
