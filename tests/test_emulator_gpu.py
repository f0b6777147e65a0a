"""`python -m primer gpu`: what it says of a machine, without a GPU and with a pretended one."""
import json

import numpy as np
import pytest
from conftest import needs

from kernels import emulator
from kernels.emulator import fake_cupy, gpu, nvrtc, roofline
from primer import __main__ as command

pytestmark = needs("emulated", "nvrtc")
KEYS = {"file", "kernel", "arch", "registers", "spills", "stack", "shared", "occupancy", "limit",
        "function", "bytes", "flops", "flops64", "bound_s"}


@pytest.fixture
def one_twin(monkeypatch):
    """Chapter 4's kernels only: the others' examples are run by test_emulator_run.py."""
    (module,) = [m for m in nvrtc.shipped() if m.twin == "ch04_tfidf_cuda"]
    monkeypatch.setattr(nvrtc, "shipped", lambda: [module])
    return module


def test_json_is_one_object_and_says_that_nothing_was_measured(one_twin, capsys):
    if gpu.survey()["device"]:
        pytest.skip("there is a GPU here")
    assert command.main(["gpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"] is False and found["device"] is None and found["failures"] == []
    rows = found["kernels"]
    assert {(r["kernel"], r["arch"]) for r in rows} == {
        (k, a) for k in one_twin.kernels for a in nvrtc.ARCHITECTURES}
    for row in rows:
        assert set(row) == KEYS and row["spills"] == row["stack"] == 0 and row["bytes"] > 0
        assert set(row["bound_s"]) == set(roofline.PEAKS)
    (df,) = [r for r in rows if r["kernel"] == "document_frequency" and r["arch"] == "80"]
    (arguments,) = emulator.load("ch04_tfidf").examples(np.random.default_rng(0))[
        "document_frequency"]
    columns = len(np.unique(arguments.indices))
    assert df["bytes"] == 4 * arguments.indices.size + 2 * 4 * columns      # read; read and written
    assert df["bound_s"]["T4"] == pytest.approx(df["bytes"] / 320e9)


def test_the_table_names_every_kernel_and_what_was_not_done(one_twin, capsys):
    if gpu.survey()["device"]:
        pytest.skip("there is a GPU here")
    assert command.main(["gpu"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{kernel} " in text for kernel in one_twin.kernels)
    assert "GPU: none" in text and "Not measured" in text and max(map(len, text.split("\n"))) < 250


def test_a_wrong_kernel_fails_the_command(one_twin, capsys):
    edit = ("atomicAdd(&df[indices[e]], 1)", "atomicAdd(&df[indices[e]], 2)")
    with emulator.running(edits=[edit]):
        with pytest.raises(SystemExit):
            command.main(["gpu"])
    text = capsys.readouterr().out
    assert "WRONG  ch04_tfidf.document_frequency (ptx)" in text
    assert "WRONG  ch04_tfidf.document_frequency (order backward)" in text


def test_a_spill_fails_it_too(one_twin, monkeypatch):
    compiled = nvrtc.compile_all
    monkeypatch.setattr(nvrtc, "compile_all", lambda *a: [
        f._replace(spills=8 * (f.kernel == "weigh")) for f in compiled(*a)])
    failures = gpu.report()["failures"]
    assert failures and all("ch04_tfidf.cu: weigh on sm_" in f and "8 bytes" in f for f in failures)


def test_a_device_is_compared_and_timed(one_twin, monkeypatch, capsys):
    """The path that a GPU takes, on a pretended one whose every launch takes 2 ms."""
    twin, module = emulator.load("ch04_tfidf"), emulator.load("ch04_tfidf").MODULE
    monkeypatch.setattr("kernels.twin", lambda chapter, backend: twin)
    monkeypatch.setattr(fake_cupy.module.cuda, "get_elapsed_time", lambda start, stop: 2.0)
    monkeypatch.setattr(gpu, "survey", lambda: {
        "python": "3", "numpy": "2", "cupy": "14", "nvrtc": "12.9", "g++": True, "driver": 12090,
        "device": "Pretended", "arch": "90"})
    monkeypatch.setattr(gpu, "SCALE", 1)
    monkeypatch.setattr(gpu, "REPEATS", 3)
    with fake_cupy.counting() as count:
        found = gpu.report()
    assert found["measured"] and found["device"] == "Pretended" and not found["failures"]
    assert {r["arch"] for r in found["kernels"]} == {"90"} and twin.MODULE is module
    for row in found["kernels"]:
        assert row["warm_s"] == row["flushed_s"] == 0.002
    assert count.launches > 2 * 4 * len(found["kernels"])
    assert "Measured on this GPU" in "\n".join(gpu.lines(found))


def test_without_the_tools_it_says_what_to_install(one_twin, monkeypatch, capsys):
    if gpu.survey()["device"]:
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(nvrtc, "candidates", lambda: [])
    nvrtc.compiler.cache_clear()
    try:
        assert command.main(["gpu"]) == 1
    finally:
        nvrtc.compiler.cache_clear()
    assert "pip install nvidia-cuda-nvrtc-cu12" in capsys.readouterr().err
