"""Tests of the cleanup composite."""

import numpy as np
import onnx
from budgetc_passes.cleanup.clean import Clean, RemoveRepeats


def test_dead_nodes_and_unused_and_equal_constants_go(apply, parse, same):
    model = parse(
        """g (float[40] x, float[40] a, float[40] b, float[40] c) => (float[40] y)
           { d = Add (x, c) p = Mul (x, a) q = Mul (x, b) y = Sub (p, q) }""",
        a=np.arange(40, dtype="f"),
        b=np.arange(40, dtype="f"),
        c=np.ones(40, "f"),
    )
    done = apply(model, RemoveRepeats())
    assert done.ops == ["Mul", "Sub"]
    assert len(done.after.graph.initializer) == 1
    assert {note.node for note in done.notes} >= {"Add(d)", "Mul(q)", "b"}
    same(done)


def test_real_models_keep_their_function_and_do_not_grow(apply, real, same, real_name):
    model = real(real_name)
    done = apply(model, Clean())
    same(done, relative=1e-5)
    before = sum(onnx.numpy_helper.to_array(item).nbytes for item in model.graph.initializer)
    after = sum(onnx.numpy_helper.to_array(item).nbytes for item in done.after.graph.initializer)
    assert after <= before + 64
    assert "Constant" not in done.ops
    assert "Identity" not in done.ops
    assert not apply(done.after, Clean()).modified


def test_branches_are_left_alone(apply, parse, same):
    model = parse(
        """g (float[2] x, bool c) => (float[2] y) { a = Identity (x)
           y = If (c) <then_branch = t () => (float[2] p) { p = Neg (a) },
                       else_branch = e () => (float[2] q) { k = Constant <value_float = 2.0> ()
                                                            q = Mul (a, k) }> }"""
    )
    done = apply(model, Clean())
    assert done.ops == ["If"]
    same(done)
