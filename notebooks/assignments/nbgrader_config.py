"""nbgrader's settings for a course with these assignments: `python -m primer assignment` copies
this file into the course's folder, where nbgrader's commands read it.  README.md beside the
original tells the way from here to returned feedback."""
from primer.exercises import assignments, sandbox

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.course_id = "embeddings"
c.CourseDirectory.db_url = "sqlite:///gradebook.db?timeout=60"   # two graders at a time may wait
c.Exchange.root = "exchange"          # a folder that students reach; with an LMS it is not used

c.ClearSolutions.code_stub = {"python": assignments.TODO}
c.OverwriteCells.add_missing_cells = True           # a deleted test cell comes back
c.ExecutePreprocessor.timeout = 120                 # seconds for a cell; then it is interrupted
c.ExecutePreprocessor.interrupt_on_timeout = True   # and the next cell runs

# An LMS's download: STUDENT_ps1.ipynb in downloaded/ps1/archive, for `nbgrader zip_collect ps1`.
c.FileNameCollectorPlugin.named_regexp = (
    r".*[\\/](?P<student_id>[^\\/_]+)_(?P<file_id>[^\\/]*)")

sandbox.configure(c)                  # Linux: bubblewrap; elsewhere a warning that names the risk
