"""Files that the scripts write."""


def write(path, text):
    """Writes the same bytes on any system. Raises OSError with the file's
    name."""
    try:
        path.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
