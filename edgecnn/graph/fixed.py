"""Channels and tensors that are the same for every image: what pruning and shrunken batch norms leave behind."""

from edgecnn.graph.graph import Graph

NAMED = 3  # layers that a sentence names before it counts the rest


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


def dead_channels(graph: Graph) -> dict[str, tuple[int, int]]:
    """Output channels whose weights are nothing but zeros, and how many there are, by module, where there are any."""
    found = {}
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            weight = graph.weights[node.input[1]]
            dead = int((~weight.reshape(len(weight), -1).any(axis=1)).sum())
            if dead:
                found[node.name.rpartition("/")[0]] = dead, len(weight)
    return found


def in_words(dead: dict[str, tuple[int, int]]) -> str:
    """The layers with the most dead channels, for people; nothing where there are none."""
    most = sorted(dead.items(), key=lambda item: -item[1][0])
    told = [f"{count} of {whole} in {module}" for module, (count, whole) in most[:NAMED]]
    rest = f" and more in {len(most) - NAMED} other layers" if len(most) > NAMED else ""
    return f"channels whose weights are all zero stay as they are: {', '.join(told)}{rest}" if told else ""
