"""Bring an archive of data onto this machine: whole, checked, and without running any of it.

    locate    npm or pip, asked for one exact version, says where the archive lies
    download  streamed into ARCHIVE.part; a second try goes on where the first one ended
    check     sha256 of the archive, before anything opens it
    unpack    only the members that the register names, written as plain files into a side folder,
              which is renamed into place when it is complete

If Python cannot reach the address but the package manager can (a proxy, a private mirror), the
package manager downloads the archive itself.  Nothing is installed, built, imported or unpickled.
primer/data.py decides what is fetched and where to.
"""
import gzip
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from tqdm import tqdm

SUMS = "SHA256SUMS"                # in a fetched folder; `sha256sum -c SHA256SUMS` reads it too
BLOCK = 1 << 16
CORRUPT = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError,
           NotImplementedError)


class DataError(Exception):
    """Data is missing, damaged or out of reach; the message says what to do."""


class Unreachable(DataError):
    """Not one byte came from the address."""


def sha256(path):
    """Checksum of a file  ->  64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(file, expected):
    """Delete the file and raise DataError unless it has the checksum."""
    found = sha256(file)
    if found != expected:
        Path(file).unlink()
        raise DataError(f"wrong checksum, so {file} was deleted; run the same command again\n"
                        f"  expected sha256 {expected}\n  received sha256 {found}")


def say(progress, words):
    """A line on standard error that does not tear a progress bar."""
    if progress:
        tqdm.write(words, file=sys.stderr)


# ---- one process at a time ----------------------------------------------------------------------

@contextmanager
def locked(file, progress=False):
    """Hold a lock that other processes wait for; it ends with this process, however that ends."""
    with open(file, "ab") as handle:                     # closing the file unlocks it
        waiting = False
        while not _try_lock(handle):
            say(progress and not waiting, f"another process is at work on {file}; waiting for it")
            waiting = True
            time.sleep(0.1)
        yield


def _try_lock(handle):
    """Take the lock if it is free  ->  bool."""
    busy = PermissionError if os.name == "nt" else BlockingIOError
    try:
        if os.name == "nt":
            import msvcrt
            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except busy:
        return False
    return True


# ---- download -----------------------------------------------------------------------------------

def download(url, target, sha256, size=None, progress=False):
    """Stream `url` into `target`, going on with target.part if it is there.

    The file appears under its name only whole and with the right sha256.  Raises Unreachable if
    nothing comes, DataError if it is cut off (target.part stays) or wrong (target.part goes).
    """
    part = Path(f"{target}.part")
    have = part.stat().st_size if part.exists() else 0
    if have != size:
        _stream(url, part, have, size, progress)
    check(part, sha256)
    os.replace(part, target)


def _stream(url, part, have, size, progress):
    """Append what is missing to `part`; raise DataError if that is not all."""
    response, start, total = _open(url, have)
    size = total if size is None else size
    with closing(response), open(part, "ab" if start else "wb") as out, \
            tqdm(total=size, initial=start, unit="B", unit_scale=True, disable=not progress) as bar:
        for block in _blocks(response, part):
            out.write(block)
            bar.update(len(block))
            if size is not None and out.tell() > size:   # it would never end: let the check fail
                break
    have = part.stat().st_size
    if size is not None and have < size:
        raise _cut_off(f"after {have} of {size} bytes", part)


def _blocks(response, part):
    """The body, block by block; a broken connection is a DataError, unlike a full disk."""
    try:
        while block := response.read(BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _cut_off(error, part) from error


def _cut_off(why, part):
    return DataError(f"the download was cut off ({why}); what came is kept in {part}: run the "
                     "same command again to go on")


def _open(url, start):
    """Ask for `url` from byte `start` on  ->  (response, first byte it sends, bytes in all)."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:                  # the server's file ends before `start`
            return _open(url, 0)
        raise Unreachable(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"the server does not answer ({error})") from error
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"):                          # a part that was not asked for
        response.close()
        return _open(url, 0)
    start = start if response.status == 206 else 0       # a server may ignore the range
    length = response.headers.get("Content-Length")
    return response, start, start + int(length) if length else None


# ---- the package managers -----------------------------------------------------------------------

def fetch_archive(entry, archive, progress=False):
    """Bring the archive of a register entry to the path `archive`, its checksum verified."""
    if archive.exists() and sha256(archive) == entry["sha256"]:      # only unpacking is left
        return
    client, package = entry["carrier"].split(":", 1)
    say(progress, f"{package} by way of {client}: {entry['bytes'] / 1e6:.1f} MB, "
                  f"unpacked {entry['unpacked'] / 1e6:.1f} MB")
    try:
        url = locate(client, package, entry.get("archive"))
        download(url, archive, entry["sha256"], entry["bytes"], progress)
    except Unreachable as why:
        say(progress, f"{why}; {client} downloads it instead")
        download_by_client(client, package, archive, entry.get("archive"))
        check(archive, entry["sha256"])


def locate(client, package, file):
    """Ask npm or pip where an exact version lies  ->  URL.  Raises Unreachable if it names none."""
    if client == "npm":
        found = re.search(r"https?://\S+", run_client(client, "view", package, "dist.tarball"))
    else:                                    # pip has no command for this, but says what it sees
        seen = run_client(client, "index", "versions", package.split("==")[0], "-vv")
        found = re.search(rf"https?://\S+/{re.escape(file)}(?![^\s#])", seen)
    if not found:
        raise Unreachable(f"{client} names no address for {package}")
    return found[0]


def download_by_client(client, package, archive, file=None):
    """Let npm or pip download the archive: no scripts are run, and nothing is built."""
    side = _empty(Path(f"{archive}.{client}"))
    if client == "npm":
        run_client(client, "pack", package, "--ignore-scripts", "--pack-destination", str(side))
    else:
        run_client(client, "download", package, "--no-deps", "--only-binary=:all:", *_tags(file),
                   "-d", str(side))
    os.replace(next(side.iterdir()), archive)
    shutil.rmtree(side)


def _tags(file):
    """pip's options for the wheel of one system: x-1.0-cp313-cp313-win_amd64.whl is one."""
    python, abi, platforms = (str(file).removesuffix(".whl").split("-")[-3:] if file else
                              3 * ("any",))
    if platforms == "any":
        return []
    return ["--python-version", python[2:], "--implementation", python[:2], "--abi", abi,
            *(f"--platform={p}" for p in platforms.split("."))]


def run_client(client, *arguments):
    """Run npm or pip  ->  what it printed.  Raises DataError if it is missing or fails."""
    if client == "npm":
        command = [shutil.which("npm"), "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    else:
        command = [sys.executable if find_spec("pip") else None, "-m", "pip", "--retries=1"]
    if command[0] is None:
        raise DataError("npm is not installed: it comes with Node.js" if client == "npm" else
                        f"pip is not installed for {sys.executable}: try python -m ensurepip")
    done = subprocess.run([*command, *arguments], capture_output=True, stdin=subprocess.DEVNULL,
                          encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        lines = [x[:200] for x in done.stderr.splitlines() if re.match("(npm )?err", x, re.I)][:4]
        raise DataError("\n  ".join([f"{client} {' '.join(arguments[:2])} failed; is this machine "
                                     "online?", *lines]))
    return done.stdout


# ---- unpack -------------------------------------------------------------------------------------

def unpack(archive, entry, folder):
    """Write the members that the register names into `folder`, all or nothing, with their sums."""
    side, sums, missing = _empty(Path(f"{folder}.unpacking")), [], set(entry["members"])
    try:
        for name, file in _files(archive, entry.get("inner")):
            inside = PurePosixPath(name)
            if not inside.is_relative_to(entry["root"]):
                continue
            inside = inside.relative_to(entry["root"])
            hits = {p for p in entry["members"] if fnmatchcase(str(inside), p)}
            if not hits:
                continue
            if inside.is_absolute() or ".." in inside.parts or re.search(r"[\\:]", name):
                raise DataError(f"{archive}: refused a member that leaves the folder: {name}")
            missing -= hits
            out = side / inside
            out.parent.mkdir(parents=True, exist_ok=True)
            with file, open(out, "wb") as target:
                shutil.copyfileobj(file, target)
            sums.append(f"{sha256(out)}  {inside}\n")
    except CORRUPT as error:
        raise DataError(f"{archive} is corrupt: {error}") from error
    if missing:
        raise DataError(f"{archive} has no member {' or '.join(sorted(missing))}")
    (side / SUMS).write_text("".join(sorted(sums)), encoding="utf-8", newline="\n")
    shutil.rmtree(folder, ignore_errors=True)            # a damaged one
    os.replace(side, folder)


def _files(archive, inner=None):
    """Yield (name, open file): regular files of a .tgz, of a zip, or of the zip `inner` in one."""
    if not zipfile.is_zipfile(archive):
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                if info.isreg():                         # no links, no devices
                    yield info.name, tar.extractfile(info)
        return
    with zipfile.ZipFile(archive) as outer:
        if inner and inner not in outer.namelist():
            raise DataError(f"{archive} has no member {inner}")
        with zipfile.ZipFile(outer.open(inner)) if inner else outer as files:
            for info in files.infolist():
                if not info.is_dir():
                    yield info.filename, files.open(info)


def _empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
