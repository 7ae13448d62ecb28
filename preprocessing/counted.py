"""A number with what it counts, in words."""


def counted(count: int, what: str, several: str | None = None) -> str:
    """So many of something: "1 scan", "2 scans", "1,000 crops".

    several: the plural where it does not end in "s" alone.

    >>> counted(1, "scan"), counted(0, "scan"), counted(1200, "crop")
    ('1 scan', '0 scans', '1,200 crops')
    >>> counted(2, "hypothesis", "hypotheses")
    '2 hypotheses'
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"
