"""Evals: questions that are asked of the service, and how well it answers them.

A question is a module here and a dataset of the same name in `datasets/`.
`poe eval` asks all of them.
"""
