"""The service. Start with `main.py`, which shows what it is made of."""
