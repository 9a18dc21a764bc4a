"""The commands. Each is a process that lives for seconds and holds what it loads to its end."""

import atexit
import gc
import os
from pathlib import Path

# Of a start's seconds a tenth, and of a cycle's as much, went into looking for cycles in modules and syntax trees.
gc.set_threshold(300_000, 50, 50)
# At its end Python would look through everything twice more: another tenth, and the system takes the memory anyway.
atexit.register(gc.freeze)
# SQLMesh would fork to read its cache: slow, and not safe beside DuckDB's threads. It reads this when it is imported.
os.environ.setdefault("MAX_FORK_WORKERS", "1")
# SQLMesh looks for a user's own settings at home when it is imported, and a user of a container may have none. Then it
# looks in a folder that this project never has.
try:
    Path.home()
except RuntimeError:
    os.environ.setdefault("SQLMESH_HOME", str(Path(__file__).resolve().parent.parent / ".sqlmesh"))
