"""Wording of numbers in texts."""


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
