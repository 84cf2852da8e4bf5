"""Tensors that are the same for every image: what pruning and shrunken batch norms leave behind."""

from edgecnn.graph.graph import Graph


def fixed_tensors(graph: Graph) -> set[str]:
    """Outputs of layers whose weights are nothing but zeros, and all that is computed from these alone.

    Of such a tensor, one image says everything.
    """
    fixed: set[str] = set()
    for node in graph.nodes:
        dead = node.op_type in ("Conv", "Gemm") and not graph.weights[node.input[1]].any()
        sources = [name for name in node.input if name not in graph.weights]
        if dead or all(name in fixed for name in sources):
            fixed.update(node.output)
    return fixed
