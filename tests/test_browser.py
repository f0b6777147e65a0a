"""JupyterLab in a headless Chromium: an assignment, from opening it to a check that passes.

Needs jupyterlab, playwright (pip) and chromium (the system's); skipped without them.  The picture
goes to $PRIMER_SCREENSHOT where that is set, to look at.
"""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from primer.exercises import assignments

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LACKING = [m for m in ("jupyterlab", "playwright") if not importlib.util.find_spec(m)]
LACKING += [] if CHROMIUM else ["chromium"]
EXERCISE = "ch05.saturation"


def handed_out(path):
    """A set with that exercise as students get it, but answered -> the number of claims."""
    name = next(n for n in assignments.names() if EXERCISE in assignments.load(n).points)
    assignment = assignments.load(name)
    exercise = next(e for e in assignment.exercises if e.id == EXERCISE)
    book, cells = assignments.notebook(assignment), assignments.released(assignment)
    own = assignments.slug(exercise)                  # Lab draws only the cells that are in view
    book["cells"] = [c for c in book["cells"] if c["id"] == "setup" or c["id"].startswith(own)]
    for cell in book["cells"]:
        if not cell["id"].startswith(f"{own}-answer-"):
            cell["source"] = cells[cell["id"]][1]
    path.write_text(json.dumps(book), "utf-8")
    return len(exercise.properties)


@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
def test_jupyterlab_runs_an_assignment(tmp_path):
    from playwright.sync_api import sync_playwright
    count = handed_out(tmp_path / "set.ipynb")
    with subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
             f"--ServerApp.root_dir={tmp_path}", "--LabApp.news_url=", "--ServerApp.token=t"],
            stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            url = next(m[0] for line in server.stderr
                       if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1200, "height": 1400})
                page.goto(f"{url}/lab/tree/set.ipynb?token=t")
                page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
                page.get_by_text("| Idle").wait_for(timeout=90_000)     # the kernel is there
                page.click("li.lm-MenuBar-item:has-text('Run')")
                page.click("li[data-command='runmenu:run-all']")
                found = page.get_by_text(f"{count} of {count} properties hold").first
                try:
                    found.wait_for(state="visible", timeout=120_000)
                finally:
                    if "PRIMER_SCREENSHOT" in os.environ:
                        page.screenshot(path=os.environ["PRIMER_SCREENSHOT"])
                    browser.close()
        finally:
            server.terminate()
