"""The limit that POSIX sets to a process' open files and sockets."""

try:
    import resource
except ImportError:  # Windows
    resource = None


def raise_limit():
    """Raises the limit as far as a user may. Child processes inherit it."""
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS takes no infinity


def limit():
    """Returns the limit; infinity if there is none."""
    if resource is None:
        return float("inf")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
