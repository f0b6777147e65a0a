"""Embedding 512 sentences of about 40 words by all-MiniLM-L6-v2: two threads, float32.

    python -m primer data get minilm                 first

Peers: sentence-transformers on torch, batches of 32 as it has by itself, sorted by length; and
onnxruntime on the same network, exported by torch and optimised at the session's highest level
(GELU with its bias, layer norm; it does not find attention in this export), with the tokenizers
library, batches of 32 sorted by length, and the mean in NumPy.  All begin with
strings and end with vectors of length 1.  Before anything is timed, ours and the library's tokens
are the same and all cosines above 0.99999, of these sentences and of the 1,000 and the hard texts
of tests/parity/ch14_bert_wordpiece.py; onnxruntime's too, of these sentences.
"""
import importlib.metadata
import re
import tempfile
from pathlib import Path

import numba
import numpy as np

from kernels import twin
from primer import data
from primer.formats.encoders import read_encoder
from primer.training.embedding import vectors_of
from tests.benchmarks.timing import interleaved
from tests.parity.ch14_bert_wordpiece import HARD, sentences

N, WORDS, BATCH, THREADS, LEAST = 512, range(36, 45), 32, 2, 0.99999


def drawn(n=N, seed=14):
    """n sentences of 36 to 44 words of the State of the Union -> list of str."""
    every = [s.strip() for p in data.sotu_paragraphs()[0] for s in re.split(r"(?<=[.?!]) +", p)]
    fit = [s for s in dict.fromkeys(every) if len(s.split()) in WORDS]
    return [fit[i] for i in np.random.default_rng(seed).permutation(len(fit))[:n]]


def check(own, other, name):
    """Raises AssertionError for a cosine too low; NaN is too low."""
    low = np.einsum("nd,nd->n", own.astype(np.float64), other).min()
    assert low > LEAST, f"the cosine with {name} is {low}"


class Onnx:
    """The same network under onnxruntime."""

    def __init__(self, model, folder):
        import onnxruntime
        import torch
        self.tokenizer = model.tokenizer.backend_tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(model.max_seq_length)
        bert = model[0].auto_model
        bert.set_attn_implementation("eager")

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.bert = bert

            def forward(self, ids, mask):
                hidden = (1.0 - mask[:, None, None, :].float()) * -10000.0
                return self.bert.encoder(self.bert.embeddings(ids), attention_mask=hidden)[0]

        example, file = torch.ones((2, 8), dtype=torch.int64), str(Path(folder) / "minilm.onnx")
        torch.onnx.export(Network().eval(), (example, example), file, opset_version=17,
                          input_names=["ids", "mask"], output_names=["states"], dynamo=False,
                          dynamic_axes={n: {0: "texts", 1: "tokens"}
                                        for n in ("ids", "mask", "states")})
        bert.set_attn_implementation("sdpa")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        self.session = onnxruntime.InferenceSession(file, options,
                                                    providers=["CPUExecutionProvider"])

    def encode(self, texts):
        """-> (n, 384) float32."""
        lists = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = np.argsort([-len(ids) for ids in lists], kind="stable")
        out = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start:start + BATCH]
            ids = np.zeros((len(rows), len(lists[rows[0]])), np.int64)
            mask = np.zeros_like(ids)
            for place, i in enumerate(rows):
                ids[place, :len(lists[i])], mask[place, :len(lists[i])] = lists[i], 1
            states = self.session.run(["states"], {"ids": ids, "mask": mask})[0]
            sums = (states * mask[..., None].astype(np.float32)).sum(axis=1)
            out[rows] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return out


def rows():
    """Two rows; compilation and export happen in the checks."""
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(THREADS)
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    folder, texts = data.path("minilm"), drawn()
    encoder, ops = read_encoder(folder), twin("ch14_bert_layers", "numba")
    model = SentenceTransformer(str(folder), device="cpu")

    def ours():
        return vectors_of(encoder, texts, ops)

    def theirs():
        return model.encode(texts, batch_size=BATCH, convert_to_numpy=True,
                            normalize_embeddings=True)

    every = [*sentences(), *HARD]
    theirs_ids = model.tokenizer(every + texts, truncation=True,
                                 max_length=encoder.longest)["input_ids"]
    assert [encoder.tokenizer.encode(t, encoder.longest) for t in every + texts] == theirs_ids
    check(vectors_of(encoder, every, ops), model.encode(every, normalize_embeddings=True),
          "sentence-transformers")
    check(ours(), theirs(), "sentence-transformers")
    with tempfile.TemporaryDirectory() as name:
        onnx = Onnx(model, name)
        check(ours(), onnx.encode(texts), "onnxruntime")
        for peer, function, bar in (("sentence-transformers", theirs, 1),
                                    ("onnxruntime", lambda: onnx.encode(texts), 0.8)):
            own, other = interleaved(ours, function)
            packages = ("numpy", "numba", "torch", peer)
            yield {"what": "MiniLM embedding", "peer": peer, "size": f"{N} x 40 words",
                   "ours": own, "peer_s": other, "ratio": other / own, "bar": bar,
                   "reached": other / own >= bar,
                   "versions": {p: importlib.metadata.version(p) for p in packages}}
