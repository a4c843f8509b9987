"""What a compiler says of a kernel that it refuses, in the words of its author: the line, what is there, the
mend."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.definition import definition

_AT = re.compile(r"^.*(?: at|Raised from) (.+?) \((\d+)\)\.?$", re.MULTILINE)
_FILE = re.compile(r'^ *File "(.+)", line (\d+):', re.MULTILINE)
"""Where Numba says that something is, in two forms; paths of the second may be relative."""
_PROMPT = ">" * 3 + " "
"""What Numba puts before a call that it has no code for."""
_COMPILERS = frozenset({"numba", "numba_cuda", "llvmlite"})
_ENGINES = tuple(Path(__file__).resolve().parent / device / "engine" for device in ("cpu", "cuda"))
_MEND = "kernels may use numbers, arrays, loops, branches, `math` and plain helper functions."
_MEMORY = (
    "kernels make no arrays, lists or dicts: use local numbers, or call.temporary(shape) in a function of"
    " bm.cpu_launches or bm.cuda_launches."
)
_MAKES = re.compile(
    r"NRT required|Only accept returning of array|NRT enabled|"
    r"<built-in function (?:zeros|ones|empty|full|array|arange|concatenate)\w*>"
)
_FIRST_LINES: tuple[tuple[str, str, str], ...] = (
    (r"Unknown attribute '(\w+)' of type (.+)", "uses '.{0}' of {1}, which kernels do not have", _MEND),
    (r"NameError: .*name '(\w+)' is not defined", "uses the unknown name '{0}'",
     "define it at the top of the file."),
    (r"Untyped global name '(\w+)'.*<class '([\w.]+)'>", "uses '{0}', a {1}, which kernels cannot hold",
     "pass numbers as fields of the op."),
    (r"The use of a reflected list.* variable '(\w+)'", "uses '{0}', a list, which kernels cannot hold",
     "write it as a tuple, or pass it as a field of the op."),
    (r"Cannot unify (.+) and (.+) for '(\w+)[.\d]*'", "gives '{2}' the types {0} and {1}",
     "give it one type on every way: numbers of one kind, or arrays alone."),
    (r"Cannot bind .* due to \"TypeError: (.+)\"", "calls a function with wrong arguments: {0}",
     "pass what it takes."),
    (r"Use of unsupported opcode \((\w+)\)", "uses Python that kernels do not have ({0})", _MEND),
)  # fmt: skip
"""Beginnings of messages, what the author reads instead, and the mend."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def refused(function: Callable[..., Any], error: Exception, what: str = "the kernel") -> KernelError:
    """The error for a kernel that Numba cannot compile: its author's line, what is there, the mend.

    Args:
        function: the kernel; its attribute `authors` names the functions it was generated from, if it was.
        error: what Numba raised.
        what: how the message begins, as in "the CUDA kernel".
    """
    text = _COLOURS.sub("", str(error))  # Numba paints its messages where `colorama` is installed
    authors: Sequence[Any] = getattr(function, "authors", (function,))
    names = "', '".join(dict.fromkeys(item.__name__ for item in authors))
    said, fix = _said(text)
    file, line, is_exact = _place(text, authors)
    source = linecache.getline(file, line).strip() if is_exact else ""
    place = f"{file}, line {line}{'' if is_exact else ' or behind,'}"
    shown = f"\n    {source}" if source else ""
    found = KernelError(f"{what} '{names}' cannot be compiled: {place} {said}.{shown}", fix=fix)
    found.details = text
    return found


def failed(function_name: str, error: BaseException, what: str) -> KernelError | None:
    """The error for a kernel that raised while it ran as Python, in a simulator: its author's line."""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    own = [frame for frame in frames if not _is_machinery(frame.filename)]
    if not own:
        return None
    last = own[-1]
    reason = re.sub(r"^tid=\[.*?\] ctaid=\[.*?\]: ", "", str(error)) or "no reason given"
    source = linecache.getline(last.filename, last.lineno).strip()
    if "assignment destination is read-only" in reason:
        return KernelError(
            f"{what} '{function_name}' writes to what it may only read: {last.filename}, line {last.lineno}."
            f"\n    {source}",
            fix="write to outputs alone, or to memory that call.temporary(shape) gives.",
        )
    return KernelError(
        f"{what} '{function_name}' failed: {last.filename}, line {last.lineno} raised {type(error).__name__}:"
        f" {reason}.\n    {source}",
        fix="mend that line; on a device it would read or write other memory, or not compile.",
    )


def _said(text: str) -> tuple[str, str]:
    """What is wrong, and the mend."""
    lines = [line.strip() for line in text.splitlines()]
    skipped = ("Failed in ", "- Resolution failure", "Internal error")
    first = next((line for line in lines if line and not line.startswith(skipped)), "is refused")
    for pattern, said, fix in _FIRST_LINES:
        if match := re.search(pattern, first):
            return said.format(*map(_type, match.groups())), fix
    call = next((line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)), "")
    indexed = re.search(r"[Cc]annot index (.+) with (\d+) indices", text)
    if indexed:
        array, count = _type(indexed[1]), int(indexed[2])
        return f"gives {count} indices to {array}", "index it by as many numbers as it has axes."
    if match := re.match(r"(getitem|setitem)\((.+)\)$", call):
        parts = _split(match[2])
        if match[1] == "setitem" and ("str" in parts[-1] or "unicode" in parts[-1]):
            return f"stores text in {_type(parts[0])}", _MEND
        return f"indexes {_type(parts[0])} by {_type(parts[1])}", "index arrays by whole numbers and slices."
    if _MAKES.search(text):
        return "makes an array or a collection", _MEMORY
    if call:
        return f"calls {_type(call)}, which kernels do not have", _MEND
    reason = re.sub(r"\.?\.? ?Raised from .*$", "", first).rstrip(".:")
    return f"is refused: {reason}" if reason else "is refused", _MEND


def _split(text: str) -> list[str]:
    """What stands between commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _type(text: str) -> str:
    """Numba's name of a type in words."""
    text = re.sub(r"array\((\w+), (\d)d, \w( \w+)*\)", r"a \1 array of \2 axes", text)
    text = re.sub(r"Literal\[int\]\((-?\d+)\)", r"\1", text)
    text = re.sub(r"Literal\[str\]\((.*?)\)", r"text", text).replace("unicode_type", "text")
    text = re.sub(r"(?:Uni)?Tuple\((.*)\)$", r"(\1)", text)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Where ----------------------------------------------------------------------------------------------------


def _place(text: str, authors: Sequence[Any]) -> tuple[str, int, bool]:
    """The author's line: the innermost that Numba names; else the only one that it may mean; else where the
    function begins, which is not exact."""
    for file, line in (*_AT.findall(text), *_FILE.findall(text)):
        if not _is_machinery(file) and Path(file).exists():
            return str(Path(file).resolve()), int(line), True
    for function in authors:
        code = getattr(function, "__code__", None)
        if code is not None and not _is_machinery(code.co_filename):
            found = definition(function)
            nodes: list[Any] = (
                [node for node in ast.walk(found.tree) if _is_meant(node, text)] if found else []
            )
            if found is not None and len({node.lineno for node in nodes}) == 1:
                return found.file, nodes[0].lineno + found.first - 1, True
            return code.co_filename, code.co_firstlineno, False
    return "a generated function", 0, False


def _is_meant(node: Any, text: str) -> bool:
    """Whether a message that names no line may mean a part of a function."""
    if missing := re.search(r"name '(\w+)' is not defined", text):
        return isinstance(node, ast.Name) and node.id == missing[1]
    if "context manager" in text:
        return isinstance(node, ast.With)
    indices = re.search(r"[Cc]annot index .+ with (\d+) indices", text)
    if indices:
        return isinstance(node, ast.Subscript) and len(getattr(node.slice, "elts", ())) == int(indices[1])
    called = re.search(_PROMPT + r"(\w+)\(", text)
    if called and called[1] in ("setitem", "getitem"):
        wanted = ast.Store if called[1] == "setitem" else ast.Load
        return isinstance(node, ast.Subscript) and isinstance(node.ctx, wanted)
    if called:
        name = getattr(node, "func", None)
        return isinstance(node, ast.Call) and called[1] in (
            getattr(name, "id", ""),
            getattr(name, "attr", ""),
        )
    return False


def _is_machinery(file: str) -> bool:
    """Whether a file is none of an author: generated, the compiler's, or our engine's."""
    path = Path(file)
    is_compiler = not _COMPILERS.isdisjoint(path.parts)
    return file.startswith("<") or is_compiler or path.resolve().parent in _ENGINES
