"""The commands. Each is a process that lives for seconds and holds what it loads to its end."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

# Of a start's seconds a tenth, and of a cycle's as much, went into looking for cycles in modules and syntax trees.
gc.set_threshold(300_000, 50, 50)
# At its end Python would look through everything twice more: another tenth, and the system takes the memory anyway.
atexit.register(gc.freeze)
# SQLMesh would fork to read its cache: slow, and not safe beside DuckDB's threads. It reads this when it is imported.
os.environ.setdefault("MAX_FORK_WORKERS", "1")


def _writable_home() -> bool:
    try:
        folder = Path.home() / ".sqlmesh"
    except RuntimeError:  # neither HOME nor an entry among the system's users
        return False
    return os.access(folder if folder.exists() else folder.parent, os.W_OK)


# SQLMesh keeps a user's settings at home, finds them when it is imported, and fails if it may not write there. A user
# of a container may have no home: then a folder of this process alone stands in.
if not os.environ.get("SQLMESH_HOME") and not _writable_home():
    os.environ["SQLMESH_HOME"] = tempfile.mkdtemp(prefix="order-tracking-")
    atexit.register(shutil.rmtree, os.environ["SQLMESH_HOME"], ignore_errors=True)
