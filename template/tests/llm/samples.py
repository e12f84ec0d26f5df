"""A text for each task, and what is in it: change them with `extract.py` and `classify.py`."""

from typing import Any

DOCUMENT_TEXT = """\
Supplier: Nordlicht Papier GmbH
Invoice number: 2026-0117
Issued on: 2026-11-03
Currency: EUR
Description: Paper, quantity: 2, unit price: 4.50, amount: 9.00
Total: 9.00
"""
DOCUMENT: dict[str, Any] = {
    "supplier": "Nordlicht Papier GmbH",
    "invoice_number": "2026-0117",
    "issued_on": "2026-11-03",
    "currency": "EUR",
    "lines": [{"description": "Paper", "quantity": 2, "unit_price": 4.5, "amount": 9}],
    "total": 9,
}

MESSAGE = "I was charged twice."
LABEL = "billing"
CLASSIFICATION: dict[str, Any] = {"rationale": "It is about a charge.", "label": LABEL}

# It has no field that a document needs, and speaks for no label.
UNREADABLE = "Good morning."
