r"""Chapter 14. BERT: hide some words of a text, and learn to say which from both sides.

    M       = 15 % of a text's tokens, at least one, by chance; of them 80 % become [MASK], 10 %
              some other token, 10 % stay as they are                                       (14.1)
    l_MLM   = mean_{i in M} -ln softmax(E norm(gelu(h_i A + a)) + b)_{x_i}                  (14.2)
    l_class = mean_t -ln softmax(tanh(h_t0 P + p) C + c)_{y_t}       next sentence, classes (14.3)
    l_tag   = mean_{i: y_i >= 0} -ln softmax(h_i C + c)_{y_i}                               (14.4)
    gap     = mean_{i, j: s_i not s_j} 1 - cos(h_i, h_j)          one word, in senses s     (14.5)
    parted  = mean_{i < j: s_i = s_j} cos(h_i, h_j) - (1 - gap)                             (14.6)

Symbols     B texts of T tokens, V in the vocabulary, d dimensions; H: (B, T, d) the encoder's
            h_i, h_t0 that of text t's first token, [CLS]; x_i the token before masking, m = |M|;
            E: (V, d) the rows of "tokens", shared with the input; A, a, b the head of MLM, P, p the
            pooler, C, c of a task with some classes: all of them arrays of one flat dict, also
            called P in code; S: scores, dS = dL/dS; X: (n, d) a word's vectors in n sentences.
Sources     the text, lines 1386-1610; Devlin et al. 2019 (arXiv:1810.04805), sec. 3, A.1, A.2; its
            code (create_pretraining_data.py, run_pretraining.py); Wolf et al. 2020; Ethayarajh
            2019 (arXiv:1909.00512), self-similarity, which is 1 - gap over all pairs.
We differ   We mask anew at each step (Liu et al. 2019), BERT in ten copies made beforehand.  Its
            random tokens come from all V, ours from those that are not special.  The text's sum
            over M (line 1571) is a mean here, as in BERT's code.  It says that a vector depends
            on the "larger document" (line 1524): on the tokens of the input alone.
            GPT's states see what is on the left alone (line 1293 says the full sentence).
Relations   A static vector has gap 0; a large gap alone proves little, an untrained encoder has
            one: see sense_separation.  With M = all that is not masked, (14.2) is (6.1).
Kernels     Those of the parts: kernels/ch14_bert_layers_numba.py does the work between products.
"""
import numpy as np

from primer import ch14_bert_layers as layers
from primer.ch01_geometry import as_labels, pairwise_cosine
from primer.ch14_bert_encoder import encode, encode_backward, initial_array


def mask_tokens(ids, rng, V, mask_id, special, share=0.15, split=(0.8, 0.1)):
    """Hide tokens (14.1), never those whose ids are `special`.  (B, T) ids below V -> inputs
    (B, T), places (m,) of the flattened ids, rising, labels (m,): what stood there.

    Raises ValueError if there is no token to hide, or share is not between 0 and 1.
    """
    ids = np.asarray(ids)
    as_labels(ids.ravel(), "ids", V)
    if not 0 < share < 1:
        raise ValueError(f"share: expected more than 0 and less than 1, got {share}: with all "
                         "tokens hidden there is nothing to predict them from")
    ordinary = ~np.isin(ids, special)                                             # (B, T)
    total = ordinary.sum(axis=1)                                                  # (B,)
    count = np.minimum(total, np.maximum(1, np.rint(share * total)))              # (B,)
    order = np.argsort(np.where(ordinary, rng.random(ids.shape), 2), axis=1)      # (B, T)
    ranks = np.argsort(order, axis=1)                   # special ones come last
    places = np.flatnonzero(ranks < count[:, None])                               # (m,)  eq. 14.1
    if not len(places):
        raise ValueError("ids: no token to hide, all are special")
    labels, lots = ids.ravel()[places], rng.random(len(places))                   # (m,), (m,)
    others = rng.choice(np.setdiff1d(np.arange(V), special), len(places))         # (m,)
    inputs = ids.copy()
    inputs.reshape(-1)[places] = np.where(lots < split[0], mask_id, np.where(
        lots < sum(split), others, labels))
    return inputs, places, labels


def pair_texts(first, second, cls_id, sep_id):
    """[CLS] A [SEP] B [SEP].  Two arrays of ids -> ids, segments: 0 up to A's [SEP], then 1."""
    ids = np.concatenate([[cls_id], first, [sep_id], second, [sep_id]])           # (T,)
    return ids, (np.arange(len(ids)) >= len(first) + 2).astype(np.int32)


def initial_heads(P, rng, classes=(("nsp", 2),)):
    """P with the heads of MLM and of tasks (name, number of classes) -> dict, P's own arrays in it.
    Normal of 0.02 as BERT starts, biases 0; "mlm.bias": ln of frequencies serves well."""
    (V, d), dtype = P["tokens"].shape, P["tokens"].dtype
    shapes = {"mlm.dense": (d, d), "mlm.dense_bias": (d,), "mlm.scale": (d,), "mlm.shift": (d,),
              "mlm.bias": (V,), "pool": (d, d), "pool_bias": (d,)}
    for name, C in classes:
        shapes |= {name: (d, C), f"{name}_bias": (C,)}
    return {name: initial_array(name, shape, rng, dtype) for name, shape in shapes.items()} | P


def mlm_scores(P, H, places, ops=None):
    """Scores of all V tokens at some places (14.2).  (B, T, d), (m,) -> S (m, V), cache."""
    ops, rows = ops or layers, H.reshape(-1, H.shape[-1])[places]                 # (m, d)
    Y, dense = ops.linear(rows, P["mlm.dense"])
    Y, bent = ops.bias_gelu(Y, P["mlm.dense_bias"])
    Y, normed = ops.layer_norm(Y, P["mlm.scale"], P["mlm.shift"])
    S, tied = ops.linear(Y, P["tokens"].T, P["mlm.bias"])                         # (m, V)  eq. 14.2
    return S, (H.shape, places, dense, bent, normed, tied)


def mlm_scores_backward(dS, cache, ops=None):
    """(m, V) -> dH (B, T, d), gradients of the head's arrays and of the tokens', a dict."""
    (shape, places, dense, bent, normed, tied), ops = cache, ops or layers
    dY, dE, dbias = ops.linear_backward(dS, tied)
    dY, dscale, dshift = ops.layer_norm_backward(dY, normed)
    dY, dbend = ops.bias_gelu_backward(dY, bent)
    rows, dW, _ = ops.linear_backward(dY, dense)
    dH = np.zeros(shape, rows.dtype)                                              # (B, T, d)
    dH.reshape(-1, shape[-1])[places] = rows            # no place twice
    return dH, {"tokens": dE.T, "mlm.bias": dbias, "mlm.scale": dscale, "mlm.shift": dshift,
                "mlm.dense": dW, "mlm.dense_bias": dbend}


def class_scores(P, H, name="nsp"):
    """Scores of a text's classes from its first state (14.3).  (B, T, d) -> S (B, C), cache."""
    Y, dense = layers.linear(H[:, 0], P["pool"], P["pool_bias"])
    pooled = np.tanh(Y)                                                           # (B, d)
    S, head = layers.linear(pooled, P[name], P[f"{name}_bias"])                   # (B, C)
    return S, (H.shape, dense, pooled, head, name)


def class_scores_backward(dS, cache):
    """(B, C) -> dH (B, T, d), gradients of the pooler's and the head's arrays, a dict."""
    shape, dense, pooled, head, name = cache
    dY, dC, dc = layers.linear_backward(dS, head)
    first, dW, db = layers.linear_backward(dY * (1 - pooled ** 2), dense)
    dH = np.zeros(shape, first.dtype)                                             # (B, T, d)
    dH[:, 0] = first
    return dH, {name: dC, f"{name}_bias": dc, "pool": dW, "pool_bias": db}


def tag_scores(P, H, name="tag"):
    """Scores of each token's classes (14.4).  (B, T, d) -> S (B T, C), cache."""
    S, head = layers.linear(H.reshape(-1, H.shape[-1]), P[name], P[f"{name}_bias"])
    return S, (H.shape, head, name)


def tag_scores_backward(dS, cache):
    """(B T, C) -> dH (B, T, d), gradients of the head's arrays, a dict."""
    shape, head, name = cache
    dX, dC, dc = layers.linear_backward(dS, head)
    return dX.reshape(shape), {name: dC, f"{name}_bias": dc}


def mean_loss(S, labels, ops=None):
    """Mean of (14.2-14.4) over the rows with a label; below 0 is none.  (n, C), (n,) -> float,
    cache.  Raises ValueError if no row has one, or a label is not below C."""
    ops, labels = ops or layers, np.asarray(labels).reshape(-1)                   # (n,)
    kept = np.flatnonzero(labels >= 0)
    if not len(kept) or len(labels) != len(S):
        raise ValueError(f"labels: expected ({len(S)},), one of them or more from 0")
    as_labels(labels[kept], "labels", S.shape[1])
    losses, cache = ops.cross_entropy(S if len(kept) == len(S) else S[kept], labels[kept])
    return float(losses.mean()), (S, kept, cache)


def mean_loss_backward(cache, g=1.0, ops=None):
    """Of g times the mean -> dS (n, C)."""
    (S, kept, cache), ops = cache, ops or layers
    own = ops.cross_entropy_backward(np.full(len(kept), g / len(kept), S.dtype), cache)
    if len(kept) == len(S):
        return own
    dS = np.zeros_like(S)                                                         # (n, C)
    dS[kept] = own
    return dS


def add_grads(grads, more):
    """Sum of gradients by name, where an array serves twice.  dict, dict -> the first, changed."""
    for name, dX in more.items():
        grads[name] = grads[name] + dX if name in grads else dX
    return grads


def pretraining_step(P, heads, batch, rate=0.0, rng=None, ops=None):
    """l_MLM + l_class.  batch: inputs (B, T), mask, segments, places, labels, follows (B,) or None:
    no l_class; rate: of dropout -> losses [l_MLM, l_class], gradients, a dict."""
    inputs, mask, segments, places, labels, follows = batch
    H, cache = encode(P, heads, inputs, mask, segments, rate=rate, rng=rng, ops=ops)
    S, own = mlm_scores(P, H, places, ops)
    loss, down = mean_loss(S, labels, ops)
    dH, grads = mlm_scores_backward(mean_loss_backward(down, 1.0, ops), own, ops)
    losses = [loss]
    if follows is not None:
        S, own = class_scores(P, H)
        loss, down = mean_loss(S, follows)
        dfirst, more = class_scores_backward(mean_loss_backward(down), own)
        dH += dfirst                                                              # (B, T, d)
        add_grads(grads, more)
        losses.append(loss)
    return losses, add_grads(encode_backward(dH, cache), grads)


def finetuning_step(P, heads, batch, name, scores, backward, rate=0.0, rng=None, ops=None):
    """One of (14.3), (14.4), through the encoder.  batch: ids (B, T), mask, labels; scores,
    backward: of class_ or tag_scores; name: the head's -> losses [l], gradients, a dict."""
    ids, mask, labels = batch
    H, cache = encode(P, heads, ids, mask, rate=rate, rng=rng, ops=ops)
    S, own = scores(P, H, name)
    loss, down = mean_loss(S, labels, ops)
    dH, grads = backward(mean_loss_backward(down, 1.0, ops), own)
    return [loss], add_grads(encode_backward(dH, cache), grads)


def piece_rows(tokens, word):
    """Where a word's pieces stand: "bank", "##ed" are those of "banked".  list of str -> the rows
    of its first occurrence.  Raises ValueError if it does not occur."""
    for start, token in enumerate(tokens):
        stop = start + 1
        while stop < len(tokens) and tokens[stop].startswith("##"):
            token, stop = token + tokens[stop][2:], stop + 1
        if token == word:
            return np.arange(start, stop)
    raise ValueError(f"word: {word!r} is not a whole word of {' '.join(tokens)!r}")


def occurrence_vectors(P, heads, wordpiece, word, sentences, ops=None):
    """A word's last state in each sentence, the mean of its pieces.  n str -> X (n, d)."""
    rows = []
    for sentence in sentences:
        ids = np.array([wordpiece.encode(sentence)])                              # (1, T)
        H, _ = encode(P, heads, ids, ops=ops, keep=False)
        own = piece_rows([wordpiece.vocabulary[i] for i in ids[0]], word)
        rows.append(H[0, own].mean(axis=0))                                       # (d,)
    return np.array(rows)                                                         # (n, d)


def polysemy_gap(X, senses):
    """How far apart a word's vectors are from sense to sense (14.5).  (n, d), n labels -> float
    from 0 to 2.  Raises ValueError if all senses are one."""
    return float(np.mean(1 - _cosines(X, senses)[0]))


def sense_separation(X, senses):
    """Mean cosine within a sense, less that between senses (14.6): above 0 where they part.
    As polysemy_gap -> float.  Raises ValueError if no sense stands twice."""
    between, within = _cosines(X, senses)
    if not within.size:
        raise ValueError("senses: expected one that stands twice or more")
    return float(within.mean() - between.mean())


def _cosines(X, senses):
    if len(X) != len(senses) or len(set(senses)) < 2:
        raise ValueError(f"senses: expected {len(X)} labels, of two senses or more")
    cosines, senses = pairwise_cosine(X, X), np.asarray(senses)                   # (n, n)
    i, j = np.triu_indices(len(X), 1)
    same = senses[i] == senses[j]                                                 # (pairs,)
    return cosines[i, j][~same], cosines[i, j][same]
