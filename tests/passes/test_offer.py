"""What an offer must be, and which pass classes make one."""

import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.offer import Offer, Part, Searchable
from budgetc_passes.pruning.channels import PruneChannels
from budgetc_passes.quantization.static import Quantize


def test_the_class_makes_the_offer() -> None:
    assert isinstance(PruneChannels, Searchable)
    assert isinstance(Quantize, Searchable)
    assert not isinstance(Clean, Searchable)


@pytest.mark.parametrize("levels", [(), (0,), (0, 0), (0, 1, 1)])
def test_a_part_has_something_to_choose(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="needs two different levels"):
        Part("a", levels, (), 0)


def test_parts_have_names_of_their_own() -> None:
    part = Part("a", (0, 1), (), 0)
    with pytest.raises(ValueError, match="two parts have one name"):
        Offer((part, part))
