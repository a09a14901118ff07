"""Where a QuantizeLinear moves to, and where it may not."""

from budgetc.lower.hoisting import quantise_early

PAIR = "float s = {0.05}, uint8 z = {ZERO}, float t = {0.07}, uint8 u = {9}"


def kinds(make_graph, body, ports, zero="100"):
    text = f"g {ports} <{PAIR.replace('ZERO', zero)}> {{ {body} }}"
    graph = make_graph(text)
    quantise_early(graph)
    return [op.kind for op in graph.operations]


def test_it_goes_before_a_move(make_graph):
    body = "m = MaxPool<kernel_shape=[2,2]>(x)  y = QuantizeLinear(m, s, z)"
    ports = "(float[1,2,4,4] x) => (uint8[1,2,3,3] y)"
    assert kinds(make_graph, body, ports) == ["QuantizeLinear", "MaxPool"]


def test_it_goes_before_every_part_of_a_concatenation_once(make_graph):
    body = "m = Concat<axis=1>(x, w, x)  y = QuantizeLinear(m, s, z)"
    ports = "(float[1,2] x, float[1,3] w) => (uint8[1,7] y)"
    assert kinds(make_graph, body, ports) == ["QuantizeLinear", "QuantizeLinear", "Concat"]


def test_it_stays_where_somebody_else_reads_the_reals(make_graph):
    body = "m = Transpose(x)  y = QuantizeLinear(m, s, z)  w = Relu(m)"
    ports = "(float[2,3] x) => (uint8[3,2] y, float[3,2] w)"
    assert kinds(make_graph, body, ports) == ["Transpose", "QuantizeLinear", "Relu"]


def test_a_relu_that_the_lowest_integer_implies_goes(make_graph):
    body = "m = Relu(x)  y = QuantizeLinear(m, s, z)"
    ports = "(float[3] x) => (uint8[3] y)"
    assert kinds(make_graph, body, ports, zero="0") == ["QuantizeLinear"]
    assert kinds(make_graph, body, ports, zero="7") == ["Relu", "QuantizeLinear"]


def test_a_pair_that_undoes_itself_goes(make_graph):
    ports = "(uint8[3] x) => (uint8[3] y)"
    same = "d = DequantizeLinear(x, s, z)  y = QuantizeLinear(d, s, z)"
    other = "d = DequantizeLinear(x, s, z)  y = QuantizeLinear(d, t, u)"
    assert kinds(make_graph, same, ports) == ["Identity"]
    assert kinds(make_graph, other, ports) == ["DequantizeLinear", "QuantizeLinear"]


def test_a_scale_for_each_channel_stays_where_its_axis_is(make_graph):
    text = (
        "g (float[2,3] x) => (int8[3,2] y) <float[3] s = {1,2,3}, int8[3] z = {0,0,0}>"
        "{ t = Transpose(x)  y = QuantizeLinear<axis=0>(t, s, z) }"
    )
    graph = make_graph(text)
    quantise_early(graph)
    assert [op.kind for op in graph.operations] == ["Transpose", "QuantizeLinear"]


def test_parts_of_other_scales_are_requantised_in_integers(make_model, check_exact):
    text = """g (uint8[1,3,4,4] x, uint8[1,2,4,4] w) => (uint8[1,5,4,4] y) <
        float sx = {0.03}, uint8 zx = {120}, float sw = {0.05}, uint8 zw = {9}, float sy = {0.04}, uint8 zy = {99}>
    { a = DequantizeLinear(x, sx, zx)  b = DequantizeLinear(w, sw, zw)
      c = Concat<axis=1>(a, b)  y = QuantizeLinear(c, sy, zy) }"""
    library = check_exact(make_model(text))
    assert library.lowered.arena_bytes < 1000, "no float tensor is stored"
