"""Arithmetic, which models are bad at."""

import ast
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException, localcontext
from typing import Any, Final

from pydantic_ai import ModelRetry, Tool

from app.agent.durable import Scope

_BINARY: Final[Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Decimal], Decimal]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_LONGEST: Final = 200


async def calculator(expression: str) -> str:
    """Calculate an arithmetic expression, exactly to 28 digits.

    Args:
        expression: Numbers, parentheses and + - * / // % **, such as "(3 + 4) * 2.5".
    """
    try:
        if len(expression) > _LONGEST:
            raise ValueError(f"an expression has at most {_LONGEST} characters")
        with localcontext() as context:
            context.Emax, context.Emin = 10_000, -10_000
            value = _value(ast.parse(expression.strip(), mode="eval").body, expression.strip())
            # Without a point where it is a whole number.
            value = value.normalize()
            return f"{value:f}" if abs(value.adjusted()) <= 30 else str(value)
    except (SyntaxError, ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise ModelRetry(f"It cannot be calculated ({why}): write plain arithmetic.") from error
    except DecimalException as error:
        raise ModelRetry(f"It has no value here ({type(error).__name__}).") from error


def _value(node: ast.expr, text: str) -> Decimal:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return Decimal(ast.get_source_segment(text, node) or "")
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](_value(node.left, text), _value(node.right, text))
        case ast.UnaryOp() if type(node.op) in _UNARY:
            return _UNARY[type(node.op)](_value(node.operand, text))
    raise ValueError("only numbers and + - * / // % ** can stand in it")


TOOL: Final[Tool[Any]] = Tool[Scope](calculator, timeout=2)
