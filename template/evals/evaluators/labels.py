"""How labels are confused with one another."""

from collections import Counter

from evals.engine.eval import Cases, Tables


def confusion(cases: Cases) -> Tables:
    """Count the cases by expected label (rows) and given label (columns); with recall a row."""
    pairs = Counter((str(case.expected_output), str(case.output)) for case in cases)
    labels = sorted({label for pair in pairs for label in pair})
    rows: list[list[object]] = [["expected \\ given", *labels, "recall"]]
    for expected in labels:
        given = [pairs[expected, label] for label in labels]
        recall = f"{pairs[expected, expected] / sum(given):.2f}" if sum(given) else ""
        rows.append([expected, *given, recall])
    right = [pairs[label, label] for label in labels]
    totals = [sum(pairs[expected, label] for expected in labels) for label in labels]
    precision = [f"{r / t:.2f}" if t else "" for r, t in zip(right, totals, strict=True)]
    return {"Labels": [*rows, ["precision", *precision, ""]]}
