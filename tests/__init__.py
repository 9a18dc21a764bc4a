import scripts  # noqa: F401  (before SQLMesh is imported, which reads MAX_FORK_WORKERS then)
