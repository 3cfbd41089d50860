"""Where small bugs can go in a module, by its syntax tree; what hardly shows from outside is left alone.

Left alone are messages, f-strings, annotations, decorators, types' imports, `__repr__`. It runs nothing.
"""

import ast
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

OTHER = {ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Eq: ("==", "!="),
         ast.NotEq: ("!=", "=="), ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.And: ("and", "or"),
         ast.Or: ("or", "and")}  # fmt: skip
EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
CHECKS = ("check", "require", "ensure", "refuse", "validate")  # how functions begin that only raise
TOLD = {"Note", "Progress", "report", "warn", "print", "sleep"}  # calls that are words, or only time
# Keywords that nobody notices, or that only save time or memory.
UNSEEN = {"strict", "encoding", "daemon", "help", "metavar", "timeout", "stacklevel", "out", "copy"}
LEFT_OUT = ("annotation", "returns", "decorator_list", "exc", "cause")  # fields of nodes

Place = ast.expr | ast.stmt | ast.keyword


class Bug(NamedTuple):
    """Bytes from `begin` to `end` of a file become `new`."""

    file: str
    line: int
    kind: str
    begin: int
    end: int
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def shown(self, source: bytes) -> tuple[str, str]:
        """Its line, before and after."""
        before, after = (text.decode().splitlines()[self.line - 1].strip() for text in (source, self.applied(source)))
        return before, after


def find_bugs(file: str, source: bytes) -> Iterator[Bug]:
    """All bugs that a module could have, in the order of its nodes."""
    starts = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]

    def span(node: Place) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end_column

    def text(node: ast.expr) -> str:
        return source[slice(*span(node))].decode()

    def operators(kind: str, operands: Sequence[ast.expr], ops: Sequence[ast.AST]) -> Iterator[Bug]:
        for left, right, op in zip(operands, operands[1:], ops, strict=False):
            if type(op) in OTHER and not _guards(right):
                old, new = OTHER[type(op)]
                begin = source.index(old.encode(), span(left)[1], span(right)[0])
                yield Bug(file, 1 + source.count(b"\n", 0, begin), kind, begin, begin + len(old), new)

    def bugs_at(node: ast.AST) -> Iterator[tuple[str, Place, str]]:
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield "condition negated", test, f"(not ({text(test)}))"
            case ast.comprehension(ifs=tests):
                yield from (("condition negated", test, f"(not ({text(test)}))") for test in tests)
            case ast.Constant(value=bool(value)):
                yield "constant", node, str(not value)
            case ast.Constant(value=int(value) | float(value)) if not _guards(node):
                yield "constant", node, repr(value + 1 if isinstance(value, int) else value * 1.1 or 0.1)
            case ast.Raise():
                yield "check dropped", node, "pass"
            case ast.Expr(value=ast.Call(func=func)) if _name(func).lstrip("_").startswith(CHECKS):
                yield "check dropped", node, "pass"
            case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) as value):
                yield "return value", value, f"(not ({text(value)}))"
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield "return value", value, f"({text(value)}) * 2" if isinstance(value, ast.BinOp) else "None"
            case ast.Slice(lower=lower, upper=upper):
                bounds = [(lower, "+"), (upper, "-")]
                yield from (("slice bound", bound, f"({text(bound)}) {op} 1") for bound, op in bounds if bound)
            case ast.Call(func=func, args=args):
                if _name(func) in EXTREMES:
                    yield "min/max", func, text(func).removesuffix(_name(func)) + EXTREMES[_name(func)]
                if len(args) > 1:  # the second in place of the first, and the other way round
                    yield from (("argument replaced", one, text(two)) for one, two in (args[:2], args[1::-1]))

    for node in _seen(ast.parse(source)):
        match node:
            case ast.Compare(left=left, ops=ops, comparators=rest):
                yield from operators("comparison", [left, *rest], ops)
            case ast.BoolOp(op=op, values=values):
                yield from operators("and/or", values, [op] * len(values))
            case ast.BinOp(left=left, op=op, right=right) | ast.AugAssign(target=left, op=op, value=right):
                yield from operators("plus/minus", [left, right], [op])
            case ast.keyword(arg=str()):
                begin, end = span(node)
                after = source[end:].lstrip().removeprefix(b",")
                yield Bug(file, node.lineno, "argument dropped", begin, len(source) - len(after), "")
        yield from (Bug(file, place.lineno, kind, *span(place), new) for kind, place, new in bugs_at(node))


def _name(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _guards(node: ast.AST) -> bool:
    """Whether it is a number that keeps from dividing by zero, or says when a sum has settled."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value <= 1e-6


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it, but for what does not show from outside."""
    match node:
        case ast.JoinedStr() | ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.FunctionDef(name="__repr__"):
            return
        case ast.Call(func=func) if _name(func) in TOLD:
            return
        case ast.keyword(arg=arg) if arg in UNSEEN:
            return
    yield node
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in LEFT_OUT:
                yield from _seen(child)


def is_bug(source: bytes, bug: Bug) -> bool:
    """Whether what comes out is Python, and another program."""
    try:
        return ast.dump(ast.parse(bug.applied(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False
