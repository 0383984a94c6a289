"""The table that `model.summary()` shows: a line for each node, then totals."""

from __future__ import annotations

from collections.abc import Sequence

from fastconv.nn.frame import Shape
from fastconv.nn.graph import Graph
from fastconv.nn.steps import foldings


def summary(graph: Graph, input_shapes: Sequence[Shape]) -> str:
    """Return the table for one sample: layer, output shape, parameters, FLOPs (a multiply-add counts two)."""
    shapes = graph.infer_shapes(input_shapes)
    rows = [("layer", "output shape", "parameters", "FLOPs")]
    seen = set()
    trainable = frozen = statistics = flops = 0
    for node in graph.nodes:
        if node.layer is None:
            rows.append((graph.input_name(node), str(shapes[node]), "", ""))
            continue
        name = graph.names[node.layer]
        parameters = [] if node.layer in seen else list(node.layer.parameters().values())
        if node.layer in seen:
            name += " (shared)"
        if node.layer.activation not in ("none", "relu"):
            name += f", then {node.layer.activation}"  # a pass of its own over the output; ReLU is none
        seen.add(node.layer)
        trainable += sum(parameter.size for parameter in parameters if parameter.trainable)
        frozen += sum(parameter.size for parameter in parameters if not (parameter.trainable or parameter.statistic))
        statistics += sum(parameter.size for parameter in parameters if parameter.statistic)
        work = node.layer.flops(*(shapes[source] for source in node.inputs))
        flops += work
        count = sum(parameter.size for parameter in parameters)
        rows.append((name, str(shapes[node]), f"{count:,}", f"{work:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 6)
    lines[1:1] = [rule]
    lines += [
        rule,
        f"parameters: {trainable + frozen:,} ({trainable:,} trainable, {frozen:,} frozen)"
        + (f" and {statistics:,} running statistics" if statistics else ""),
        f"FLOPs per sample: {flops:,}",
    ]
    folded = [f"{graph.names[norm]} into {graph.names[layer]}" for norm, layer in foldings(graph, input_shapes)]
    lines += [f"folded for inference: {', '.join(folded)}"] if folded else []
    return "\n".join(lines)
