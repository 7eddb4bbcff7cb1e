"""How many files and sockets a process may have open: POSIX limits that."""

try:
    import resource
except ImportError:  # Windows
    resource = None


def raise_limit():
    """As far as a user may. What is started from then on has it too."""
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS takes no infinity


def limit():
    """How many there may be; infinity without a limit."""
    if resource is None:
        return float("inf")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
