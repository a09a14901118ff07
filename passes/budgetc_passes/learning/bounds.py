"""The bounds of what passes that learn have in common."""

from budgetc_passes.options import check_words

_WORDS = {
    "epochs": (1, 10_000, "a number of times that all samples are seen, 1 or above"),
    "rate": (1e-8, 1.0, "above 0 and at most 1, such as 1e-3"),
    "temperature": (1.0, 1000.0, "1 or above, such as 2"),
    "hard": (0.0, 1.0, "a share, 0 to 1"),
    "features": (0.0, 1e6, "a weight, 0 or above"),
    "batch": (1, 65_536, "a number of inferences, 1 or above"),
    "decay": (0.0, 1.0, "0 to 1, such as 1e-4"),
    "patience": (0, 10_000, "a number of epochs, or 0"),
}


def check_options(options: object) -> None:
    """Check the options of a pass that learns.

    Raises:
        ValueError: one is out of its bounds.
    """
    name = getattr(options, "name", "")
    for option, (least, most, words) in _WORDS.items():
        value = getattr(options, option)
        if not least <= value <= most:
            message = f"{name}: {option} is {value}; it is {words}"
            raise ValueError(message)
    check_words(options)
