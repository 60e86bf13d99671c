"""The house rules that a machine can see."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

from coverslip.core import errors

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "coverslip"
MODULES = sorted(SOURCE.rglob("*.py"))
BODY, P90, FILE, CLASS = 60, 35, 400, 250
POSITIONAL, PARAMETERS = 3, 7

ADDRESSES = {
    # a block's or a window's address is one thing of three or four numbers, the same at every call
    "Reader.block",
    "Reader.window",
    "BlockReader.block",
    "BlockReader.window",
    "paste",
    "damage_tile",
}
OTHER_WORDS = re.compile(r"patch(es)?|chips?|embeddings?|magnifications?")
THEIRS = {"mpp_of_magnification", "magnification_contradicts", "magnification"}  # at the door


def identifier(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Lines of a function or class after its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


# ------------------------------------------------------------------ sizes
@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_files_classes_and_bodies_stay_small(path: Path) -> None:
    tree = tree_of(path)
    long = [f"{node.name}: {body_lines(node)}" for node in functions(tree) if body_lines(node) > BODY]
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    large = [f"{node.name}: {body_lines(node)}" for node in classes if body_lines(node) > CLASS]
    assert len(path.read_text(encoding="utf-8").splitlines()) < FILE
    assert (long, large) == ([], [])


def test_nine_of_ten_bodies_fit_a_screen() -> None:
    lengths = sorted(body_lines(node) for path in MODULES for node in functions(tree_of(path)))
    assert lengths[int(0.9 * len(lengths))] <= P90


# ------------------------------------------------------------------ what is public
def public() -> Iterator[tuple[str, str, FunctionType]]:
    """Yield room, qualified name and function for all that the rooms export, methods included."""
    for room in sorted(p.parent.name for p in SOURCE.glob("*/__init__.py")):
        module = import_module(f"coverslip.{room}")
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not getattr(thing, "__module__", "").startswith("coverslip."):
                continue
            if inspect.isfunction(thing):
                yield room, name, thing
            elif inspect.isclass(thing):
                yield from ((room, f"{name}.{member}", f) for member, f in methods(thing))


def methods(kind: type) -> Iterator[tuple[str, FunctionType]]:
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function


def parameters(function: FunctionType) -> list[inspect.Parameter]:
    return [p for key, p in inspect.signature(function).parameters.items() if key not in {"self", "cls"}]


def test_public_functions_take_few_parameters() -> None:
    wrong = []
    for room, name, function in public():
        given = parameters(function)
        positional = [p for p in given if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
        if len(given) > PARAMETERS or (len(positional) > POSITIONAL and name not in ADDRESSES):
            wrong.append(f"{room}: {name} takes {len(given)}, {len(positional)} of them positional")
        if any(p.kind is p.VAR_KEYWORD for p in given):
            wrong.append(f"{room}: {name} has a **kwargs sink, which swallows a mistyped name")
    assert wrong == []


def test_public_functions_have_docstring_and_types() -> None:
    wrong = []
    for room, name, function in public():
        untyped = [p.name for p in parameters(function) if p.name not in function.__annotations__]
        if untyped or "return" not in function.__annotations__:
            wrong.append(f"{room}: {name} lacks the types of {untyped or 'its result'}")
        if not inspect.getdoc(function):
            wrong.append(f"{room}: {name} lacks a docstring")
    assert wrong == []


def test_rooms_say_what_they_export() -> None:
    for room in sorted(p.parent.name for p in SOURCE.glob("*/__init__.py")):
        module = import_module(f"coverslip.{room}")
        assert module.__doc__, f"coverslip.{room} has no docstring"
        names = getattr(module, "__all__", None)
        assert names is not None, f"coverslip.{room} has no __all__"
        assert [name for name in names if not hasattr(module, name)] == []


# ------------------------------------------------------------------ words
def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_only_the_words_of_the_field(path: Path) -> None:
    words = {
        name: re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())
        for name in names_in(tree_of(path))
    }
    wrong = {name for name, parts in words.items() if any(OTHER_WORDS.fullmatch(part) for part in parts)}
    assert wrong - THEIRS == set()


# ------------------------------------------------------------------ errors
ERRORS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_one_tree_and_a_builtin_each(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.CoverslipError)
    if kind is not errors.CoverslipError:
        builtin = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert builtin[0] not in {Exception, BaseException, object}
    assert kind.__name__ in (errors.__doc__ or ""), "the tree in the module's docstring shows every error"


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_modules_raise_errors_of_the_tree(path: Path) -> None:
    """Raised by name: a CoverslipError, or what Python's own protocols ask for."""
    allowed = {kind.__name__ for kind in ERRORS} | {
        "AttributeError",  # __getattr__
        "KeyError",  # __getitem__ of a mapping
        "IndexError",  # __getitem__ of a sequence
        "StopIteration",
        "NotImplementedError",  # an abstract method
        "SystemExit",  # the command line's exit code
        "KeyboardInterrupt",
    }
    if path.parts[-1] == "testing.py":
        allowed.add("AssertionError")  # its checks are for test suites
    raised = set()
    for node in ast.walk(tree_of(path)):
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and isinstance(node.exc.func, ast.Name)
        ):
            raised.add(node.exc.func.id)
    foreign = {
        name for name in raised if name.endswith(("Error", "Exception", "Exit")) and name not in allowed
    }
    assert foreign == set()
