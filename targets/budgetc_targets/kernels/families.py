"""The kernel families that every CPU target offers, in the order in which they are asked."""

from collections.abc import Sequence

from budgetc_targets.contract import Family
from budgetc_targets.kernels.attention import Attention
from budgetc_targets.kernels.convolution import Convolution
from budgetc_targets.kernels.depthwise import Depthwise
from budgetc_targets.kernels.elementwise import Elementwise
from budgetc_targets.kernels.matmul import MatMul
from budgetc_targets.kernels.normalisation import Normalisation
from budgetc_targets.kernels.pooling import Pooling
from budgetc_targets.kernels.recurrent import Recurrent
from budgetc_targets.kernels.reduction import Reduction
from budgetc_targets.kernels.single_filter import SingleFilter
from budgetc_targets.kernels.softmax import Softmax
from budgetc_targets.kernels.winograd import Winograd


def cpu_families() -> Sequence[Family]:
    """One of each."""
    return (
        Depthwise(),
        Winograd(),
        SingleFilter(),
        Convolution(),
        MatMul(),
        Attention(),
        Pooling(),
        Normalisation(),
        Elementwise(),
        Softmax(),
        Recurrent(),
        Reduction(),
    )
