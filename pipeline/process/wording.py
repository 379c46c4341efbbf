"""Wording of numbers, sizes, causes and bytes in texts."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun.

    Args:
        number: Number of things.
        noun: Noun for a single thing.
        plural: Noun for any other number; by default the noun with an s.

    Example:
        >>> counted(1, "shard"), counted(2, "class", "classes")
        ('1 shard', '2 classes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def size(num_bytes: float) -> str:
    """Returns a size in bytes as text in a fitting unit.

    Example:
        >>> size(999), size(57_400_000), size(999_999_999), size(2.5e12)
        ('999 B', '57.4 MB', '1 GB', '2500 GB')
    """
    for unit_bytes, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        # From here on, three digits would show a thousand of the smaller unit.
        if num_bytes >= 0.9995 * unit_bytes:
            number = num_bytes / unit_bytes
            return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{num_bytes:.0f} B"


def cause(error: Exception) -> str:
    r"""Returns the text of an error for a message that names the file already.

    Args:
        error: Error of a file; a system error's own text would repeat the path.

    Example:
        >>> cause(FileNotFoundError(2, "No such file or directory", "faces.zip"))
        'No such file or directory'
        >>> cause(KeyError("means is not in the archive"))
        'means is not in the archive'
        >>> cause(UnicodeDecodeError("utf-8", b"caf\xe9", 3, 4, "invalid"))
        'it is not UTF-8 text (byte 0xe9 at position 3)'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"it is not UTF-8 text (byte {byte:#04x} at position {error.start})"
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())


def shown(data: bytes) -> str:
    r"""Returns bytes as text in quotes, with escapes for unprintable bytes.

    Example:
        >>> print(shown(b"Rar!\x1a"))
        'Rar!\x1a'
    """
    return repr(data).removeprefix("b")
