import pytest

from app.monitoring.redact import redact


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Write to ada.lovelace+x@mail.example.org!", "Write to [email]!"),
        ("The key is sk-proj-4f9aB7c2D8e1F6a3B5c9.", "The key is [key]."),
        ("IBAN DE44 5001 0517 5407 3249 31, please", "IBAN [number], please"),
        ("Card 4111-1111-1111-1111", "Card [number]"),
        ("Call +49 30 901820-99 today", "Call +[number] today"),
        ("Order 4711 of 2026 cost 12.50 EUR", "Order 4711 of 2026 cost 12.50 EUR"),
        ("Donaudampfschifffahrtsgesellschaft", "Donaudampfschifffahrtsgesellschaft"),
    ],
)
def test_what_identifies_people_and_opens_doors_is_taken_out(text: str, left: str) -> None:
    assert redact(text) == left
