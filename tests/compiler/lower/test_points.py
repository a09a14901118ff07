"""Points of kernels: where a program before has laid weights out already, a later one takes them as they are."""

from budgetc.lower.points import choose_points, default_point, known_point, one_by_one

CONV = "g (float[1,16,6,6] x) => (float[1,64,6,6] y) { y = Conv(x, w) }"


def packed(steps, capability):
    (step,) = (s for s in steps.steps if s.macs)
    arrays = step.family.pack(step.task, capability, step.point, step.constants)
    return [a.tobytes() for a in arrays]


def other_layout(capability, first):
    """A chooser that takes, where it can, a point that lays weights out in another way."""

    def choose(family, task, constants):
        return next(
            p
            for p in family.space(task, capability)
            if [a.tobytes() for a in family.pack(task, capability, p, constants)] != first
        )

    return choose


def test_a_later_program_takes_the_layout_that_is_there(walked, weights, host):
    w = weights(64, 16, 1, 1)
    first, second = walked(CONV, w=w), walked(CONV.replace("[1,", "[2,"), w=w)
    choose_points([first], one_by_one(default_point(host)), host)
    wanted = packed(first, host)
    alone = walked(CONV.replace("[1,", "[2,"), w=w)
    choose_points([alone], one_by_one(other_layout(host, wanted)), host)
    assert packed(alone, host) != wanted

    def choose(family, task, constants):
        for_first = task == next(s.task for s in first.steps if s.macs)
        default = default_point(host) if for_first else other_layout(host, wanted)
        return default(family, task, constants)

    choose_points([first, second], one_by_one(choose), host)
    assert packed(second, host) == packed(first, host) == wanted


def test_a_point_that_was_chosen_before_is_taken_if_the_space_still_has_it(walked, weights, host):
    steps = walked(CONV, w=weights(64, 16, 1, 1))
    step = next(s for s in steps.steps if s.macs)
    first, *others = step.family.space(step.task, host)
    for known, wanted in ((others[0], others[0]), ((("no such knob", 1),), first), (None, first)):
        pick = known_point(lambda task, known=known: known, host, default_point(host))
        assert pick(step.family, step.task, step.constants) == wanted
