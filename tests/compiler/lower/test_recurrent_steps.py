"""Recurrent layers as tasks: what the kernel is told of memory, constants and columns."""


def _task(walked, text, **weights):
    (step,) = (s for s in walked(text, **weights).steps if s.task and s.task.kind == "recurrent")
    return step


def test_columns_point_into_one_constant(walked, weights):
    step = _task(
        walked,
        'g (float[3,2,4] x) => (float[3,2,2,8] y) { y = RNN<hidden_size=8, direction="bidirectional">(x, w, r, b) }',
        w=weights(2, 8, 4),
        r=weights(2, 8, 8),
        b=weights(2, 16),
    )
    given, column = step.task.inputs
    assert given.shape == (3, 2, 2, 1, 8)
    assert given.strides == (32, 16, 8, 8, 1)
    assert (column.shape, column.strides) == ((2, 8), (8, 1))
    assert step.task.output.shape == (3, 2, 2, 8)
    assert step.macs == 3 * 2 * 2 * 8 * 8
    assert step.constants["weight"].shape == (2, 1, 8, 8)


def test_what_is_computed_comes_as_inputs(walked):
    step = _task(
        walked,
        """g (float[3,2,4] x, float[1,8,4] w, float[1,8,8] r, float[1,16] b, int32[2] n, float[1,2,8] h)
            => (float[1,2,8] y) { z, y = RNN<hidden_size=8>(x, w, r, b, n, h) }""",
    )
    kinds = [access.dtype for access in step.task.inputs]
    assert kinds == ["float32", "float32", "float32", "float32", "int32", "float32"]
    first, second = step.inputs[2:4]
    assert second.offset - first.offset == 8 * 4, "both halves of the biases"
    assert step.task.inputs[-1].strides == (64, 64, 8, 1)
    assert not step.constants
    assert step.task.attribute("computed")
    assert step.task.attribute("lengths")
    assert step.task.attribute("finals") == (0,)
    assert not step.task.attribute("sequence")


def test_zeros_and_full_lengths_are_no_inputs(walked, weights):
    step = _task(
        walked,
        """g (float[3,2,4] x) => (float[3,1,2,8] y) <int32[2] n = {3,3}, int64[3] s = {1,2,8}>
        { h = ConstantOfShape(s)  y = RNN<hidden_size=8>(x, w, r, , n, h) }""",
        w=weights(1, 8, 4),
        r=weights(1, 8, 8),
    )
    assert len(step.task.inputs) == 1
    assert step.task.attribute("initial") == ()
