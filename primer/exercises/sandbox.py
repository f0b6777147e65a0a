"""A student's code behind bubblewrap: it reads Python and primer, and nothing else of the machine.

    missing()            why there is no sandbox here, or ""
    wrap(folder)         the command to put before a process that may read one folder more
    configure(c)         nbgrader's kernels in the sandbox: what nbgrader_config.py calls

Linux only.  No network, no home, no course folder: so no gradebook, no solutions, no other
student's work; what is written is gone with the process.  Elsewhere grade in a container or on a
virtual machine that holds the submissions only.  A sandbox keeps the machine; that grades are right
is `python -m primer recheck`'s task, since a kernel's tests share the student's process.
"""
import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from primer.exercises.stubs import ROOT

MEMORY = 8 << 30                      # bytes of addresses for a student's process
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
SETTINGS = ONE_THREAD | {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8",
                         "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
WARNING = """primer: no sandbox: {why}.
  Students' code runs as you: it can read your files, the gradebook and the solutions, and use the
  network. On Linux: `apt install bubblewrap`. Elsewhere: grade in a container or on a virtual
  machine that holds the submissions only. In any case run `python -m primer recheck` afterwards."""


def wrap(*folders, writable=()):
    """The command to put before a process, which may read Python, primer and these folders."""
    readable = [*SYSTEM, sys.base_prefix, sys.prefix,
                *(ROOT / name for name in ("primer", "kernels", "datasets")), *folders]
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--proc", "/proc",
               "--dev", "/dev", "--tmpfs", "/tmp"]
    for option, paths in (("--ro-bind-try", readable), ("--bind", writable)):
        for path in map(str, paths):
            command += [option, path, path]
    for name, value in SETTINGS.items():
        command += ["--setenv", name, value]
    limit = ["prlimit", f"--as={MEMORY}"] if shutil.which("prlimit") else []
    return [*limit, *command, "--chdir", "/tmp"]


@functools.cache
def missing():
    """Why students' code cannot run in the sandbox here, or ""; found by trying it."""
    if sys.platform != "linux":
        return f"bubblewrap is for Linux, this is {sys.platform}"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    tried = subprocess.run([*wrap(), sys.executable, "-c", "import primer.exercises.student"],
                           capture_output=True, text=True)
    last = (tried.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return f"bubblewrap does not run: {last}" if tried.returncode else ""


@functools.cache
def kernel_folder():
    """A folder of this process: in it a kernel's spec, and the folder `run` that kernels write to.
    """
    folder = Path(tempfile.mkdtemp(prefix="primer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run, kernel = folder / "run", folder / "kernels/primer"      # the kernel cannot reach its spec
    run.mkdir()
    kernel.mkdir(parents=True)
    python = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({
        "argv": [*wrap(writable=[run]), "--setenv", "JPY_PARENT_PID", "1", *python],
        "display_name": "primer, in a sandbox", "language": "python",
        "interrupt_mode": "message"}))                           # a signal would end bubblewrap
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(folder), os.environ.get("JUPYTER_PATH")]))
    os.environ["JUPYTER_RUNTIME_DIR"] = os.environ["TMPDIR"] = tempfile.tempdir = str(run)
    return folder


def configure(c):
    """Put nbgrader's kernels into the sandbox; without one, warn of the risk and leave them.

    Without a network a kernel is spoken to over sockets in a folder, the one it can write to.  Each
    process of nbgrader has its own, so that two of them can grade at a time.  nbgrader reads its
    config several times in a process.
    """
    if missing():
        print(WARNING.format(why=missing()), file=sys.stderr)
        return
    c.ExecutePreprocessor.kernel_name = "primer"
    c.KernelManager.transport = "ipc"
    c.KernelManager.ip = str(kernel_folder() / "run/kernel")
