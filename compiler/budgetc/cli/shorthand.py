"""A recipe in few words for tables: what tells it from others, without what all of them begin with."""

from budgetc_specs.errors import printable

_EVERYWHERE = "clean | fuse | clean"
_ELLIPSIS = "…"


def shorthand(recipe: str, width: int = 0) -> str:
    """The steps of a recipe that others lack; `float` where there are none.

    Args:
        recipe: its text.
        width: longest that it may be; what is longer loses its middle. 0 sets no limit.
    """
    if recipe == _EVERYWHERE:
        return "float"
    rest = recipe.removeprefix(f"{_EVERYWHERE} | ") or "as it is"
    text = printable(rest.replace(" | clean | ", " | "))
    if text.endswith(" | clean"):
        text = text.removesuffix(" | clean")
    if width and len(text) > width:
        half = (width - 1) // 2
        text = f"{text[: width - 1 - half]}{_ELLIPSIS}{text[len(text) - half :]}"
    return text
