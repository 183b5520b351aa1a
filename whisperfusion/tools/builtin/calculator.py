"""The calculator: arithmetic in decimals, with percent as people say it.

An expression is parsed by Python's own grammar and walked here, node by node: whatever is not
arithmetic is refused, and numbers are bounded before they are computed, so no expression can take
long.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from math import isfinite

from pydantic import BaseModel, Field

from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.arguments import check_of, schema_of
from whisperfusion.tools.running import BoundTool, Invocation, ToolError

LONGEST = 300  # characters
DEPTH = 40
DIGITS = 40  # that are computed; shown are
SHOWN = 12
LARGEST_POWER = 10_000
ARITHMETIC = Context(
    prec=DIGITS,
    rounding=ROUND_HALF_UP,
    Emax=9999,
    Emin=-9999,
    traps=[DivisionByZero, InvalidOperation, Overflow],
)
PERCENT = "percent"
CONSTANTS = {
    "pi": Decimal("3.141592653589793238462643383279502884197"),
    "e": Decimal("2.718281828459045235360287471352662497757"),
}
SPELLINGS = (
    (re.compile(r"(?<=\d)[,'’\u00a0 \u202f](?=\d{3}(?!\d))"), ""),  # thousands
    (re.compile(r"[×✕·∙]|(?<=[\d)])\s*[xX]\s*(?=[\d(])"), "*"),
    (re.compile(r"[÷∕:]"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"\^"), "**"),
    (re.compile(r"√\s{0,9}(\d{1,60}(?:\.\d{1,60})?)"), r"sqrt(\1)"),
    (re.compile(r"√"), "sqrt"),
    (re.compile(r"\s{0,9}(?:%|\bpercent\b)\s{0,9}of\b"), "/100*"),
    # a remainder has a number behind it, a percentage has not
    (
        re.compile(r"(?<![\d.])(\d{1,60}(?:\.\d{1,60})?)\s{0,9}(?:%(?!\s{0,9}[\d(])|\bpercent\b)"),
        rf"{PERCENT}(\1)",
    ),
)


class Expression(BaseModel):
    expression: str = Field(
        max_length=LONGEST,
        description="Such as 12.5 * (3 + 4), 15% of 80, 80 + 15%, 2^10 or sqrt(2).",
    )


TOOL = ServerTool("calculate", "Work out arithmetic exactly.", schema_of(Expression), "calculator")


def calculated(expression: str) -> str:
    """The value of `expression`. Raises ToolError."""
    text = expression.strip().rstrip("=?").strip()
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return shown(_value(tree.body, DEPTH))
    except DivisionByZero:
        raise ToolError("that is a division by zero") from None
    except Overflow:
        raise ToolError("the result is too large") from None
    except (DecimalException, ArithmeticError):
        raise ToolError("that has no value") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ToolError("that is not arithmetic; write it with numbers and + - * / ^ ( )") from None


def shown(value: Decimal) -> str:
    """With at most `SHOWN` digits behind the integer part, and no exponent where one can do
    without.
    """
    whole = value.to_integral_value(context=ARITHMETIC) if abs(value) < 10**DIGITS else value
    if value == whole and value.adjusted() < DIGITS:
        return format(value.quantize(Decimal(1), context=ARITHMETIC), "f")
    places = SHOWN if value.adjusted() < 0 else SHOWN + min(value.adjusted(), DIGITS - SHOWN - 1)
    rounded = Context(prec=places).plus(value)
    return format(rounded.normalize(), "f" if -SHOWN <= rounded.adjusted() < DIGITS else "e")


def _value(node: ast.expr, depth: int) -> Decimal:
    if depth == 0:
        raise ValueError
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            if not isfinite(number):
                raise Overflow
            return ARITHMETIC.create_decimal(ast.unparse(node))
        case ast.Name(id=name) if name.lower() in CONSTANTS:
            return CONSTANTS[name.lower()]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ARITHMETIC.minus(_value(operand, depth - 1))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, depth - 1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right) if _percent(right):
            base = _value(left, depth - 1)
            part = ARITHMETIC.multiply(base, _value(right, depth - 1))
            return OPERATIONS[type(op)](base, part)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            return OPERATIONS[type(op)](_value(left, depth - 1), _value(right, depth - 1))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(one, depth - 1) for one in args))
    raise ValueError


def _percent(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == PERCENT
    )


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if abs(exponent) > LARGEST_POWER:
        raise ToolError("the exponent is too large")
    return ARITHMETIC.power(base, exponent)


def _one(function: Callable[[Decimal], Decimal]) -> Callable[..., Decimal]:
    def applied(*values: Decimal) -> Decimal:
        if len(values) != 1:
            raise ValueError
        return function(values[0])

    return applied


def _rounded(*values: Decimal) -> Decimal:
    if not 1 <= len(values) <= 2 or len(values) == 2 and not 0 <= values[1] <= DIGITS:
        raise ValueError
    places = int(values[1]) if len(values) == 2 else 0
    return values[0].quantize(Decimal(1).scaleb(-places), context=ARITHMETIC)


OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: ARITHMETIC.add,
    ast.Sub: ARITHMETIC.subtract,
    ast.Mult: ARITHMETIC.multiply,
    ast.Div: ARITHMETIC.divide,
    ast.FloorDiv: ARITHMETIC.divide_int,
    ast.Mod: ARITHMETIC.remainder,
    ast.Pow: _power,
}
FUNCTIONS: dict[str, Callable[..., Decimal]] = {
    "sqrt": _one(ARITHMETIC.sqrt),
    "abs": _one(ARITHMETIC.abs),
    "ln": _one(ARITHMETIC.ln),
    "log": _one(ARITHMETIC.log10),
    "round": _rounded,
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    PERCENT: _one(lambda value: ARITHMETIC.divide(value, Decimal(100))),
}


async def _run(invocation: Invocation) -> str:
    return calculated(invocation.arguments["expression"])


BOUND = BoundTool(TOOL, check_of(Expression), _run)
