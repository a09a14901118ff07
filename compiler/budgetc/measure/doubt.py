"""Whether so many samples can decide a budget of quality, in words."""

from budgetc_specs.units import format_points

from budgetc.measure.intervals import wilson_interval
from budgetc.measure.quality import Quality, Slice

ROUNDING = 1e-9
"""What a figure may pass its limit by: 5 of 1000 is not more than 0.5 pp."""

MOST_TIMES = 1000
"""Beyond so many times the samples, no number is worth naming."""


def doubt_of_drop(limit: float, quality: Quality | Slice) -> str:
    """Why the samples are too few to decide whether a drop keeps its limit; empty where they decide it.

    They decide it where all of the drop's interval is on one side of the limit. Where hardly any
    sample differs, a bootstrap cannot know what differences cost; then their possible share counts,
    as if each cost a whole answer.

    Args:
        limit: the most that the drop may be, as a fraction.
        quality: the drop with its interval.
    """
    few = quality.few_differ
    if few is not None:
        _, share = wilson_interval(few, quality.samples, 0.95)
        if share > limit:
            some = f"{few} of {quality.samples:,} samples {'differ' if few > 1 else 'differs'}"
            none = f"none of {quality.samples:,} samples differs"
            return f"{some if few else none}, but up to {share:.2%} of all may: too few to tell what that costs"
    kept = quality.drop <= limit + ROUNDING
    end = quality.high if kept else quality.low
    if (end <= limit) is kept:
        return ""
    outside = f"more than {format_points(limit)}" if kept else f"{format_points(limit)} or less"
    return (
        f"{_samples_do(quality.samples)} not rule out a drop of {outside}: the interval is "
        f"{format_points(quality.low)} to {format_points(quality.high)}; "
        f"{enough(limit, quality.drop, end, quality.samples)}"
    )


def doubt_of_value(least: float, quality: Quality) -> str:
    """The same of a least value, by the value's own interval."""
    low, high = quality.value_low, quality.value_high
    if low is None or high is None:
        return ""
    kept = quality.value >= least - ROUNDING
    end = low if kept else high
    if (end >= least) is kept:
        return ""
    outside = f"less than {least:.4g}" if kept else f"{least:.4g} or more"
    return (
        f"{_samples_do(quality.samples)} not rule out {outside}: the interval is {low:.4g} to "
        f"{high:.4g}; {enough(least, quality.value, end, quality.samples)}"
    )


def enough(limit: float, measured: float, end: float, samples: int) -> str:
    """How many samples would bring an interval's end, now beyond the limit, to the limit.

    Intervals narrow with the root of the number of samples; the figure is taken to stay.
    """
    if abs(measured - limit) * MOST_TIMES**0.5 <= abs(end - measured):
        return f"even {MOST_TIMES} times as many hardly would"
    count = int(((end - measured) / (limit - measured)) ** 2 * samples) + 1
    unit = 10 ** max(0, len(str(count)) - 2)  # two significant digits, rounded up
    return f"about {-(-count // unit) * unit:,} would"


def _samples_do(count: int) -> str:
    return f"{count:,} samples do" if count > 1 else "1 sample does"
