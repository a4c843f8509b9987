"""From a plain Python function to the address of machine code.

A kernel is a plain Python function of integers (addresses and sizes). It may call other plain Python
functions, `math` functions and `Intrinsic`s; nothing needs a decorator from Numba, so that a module of
kernels is imported without Numba. `compile_native` hands the whole to Numba the first time, keeps the object
code in the kernel cache (`cache.py`), and loads it from there from then on through LLVM alone: a warm process
never imports Numba."""

from __future__ import annotations

import ctypes
import hashlib
import math
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bigmodel_core.errors import KernelError, is_verbose
from bigmodel_core.kernels import cache
from bigmodel_core.kernels.cpu.engine.fingerprint import fingerprint, references
from bigmodel_core.kernels.cpu.engine.unhindered import no_collections, no_rules_of_arrays

Codegen = Callable[..., Any]

FASTMATH = frozenset({"contract", "reassoc", "nsz"})
"""What LLVM may assume: fused multiply-add and reordering, but NaN and infinity stay what they are."""

OPTIONS = ("-runtime-memory-check-threshold=128", "-disable-loop-idiom-memcpy")
"""Options of LLVM. Fused chains read and write many arrays: it would not make vector code after 8 checks for
overlaps. Copies stay loops: rows are too short for calls of memcpy."""


@dataclass(frozen=True, eq=False)
class Intrinsic:
    """A function given by the LLVM instructions it emits: `codegen(builder, *arguments)`.

    Args:
        signature: Numba types as text, such as "float32(intp, intp)"; empty for one that returns nothing and
            takes arguments of any types.
        codegen: gets an llvmlite `IRBuilder` and the argument values, returns the result value (None for
            void).
        typed: whether `codegen` gets Numba's target context and the signature too, before the builder.
    """

    signature: str
    codegen: Codegen
    typed: bool = False

    def __call__(self, *arguments: Any) -> Any:
        raise KernelError(f"the intrinsic {self.codegen.__name__} runs in compiled kernels only.")


def intrinsic(signature: str) -> Callable[[Codegen], Intrinsic]:
    """Declare an `Intrinsic` where its codegen is defined."""
    return lambda codegen: Intrinsic(signature, codegen)


@dataclass(frozen=True, eq=False)
class NativeFunction:
    """A plain function of integers, compiled when its address is first asked for.

    Args:
        function: takes machine integers, returns a machine integer or nothing.
        signature: Numba types as text; kernels are "void(intp, intp)": context address and chunk.
        replace: globals to swap before compiling, for instance `math.exp` by a vector form.
    """

    function: Callable[..., Any]
    signature: str = "void(intp, intp)"
    replace: tuple[tuple[Any, Any], ...] = ()
    _address: list[int] = field(default_factory=list, repr=False)
    _key: list[str] = field(default_factory=list, repr=False)

    @property
    def address(self) -> int:
        """Where the machine code starts; compiles or loads it at the first call."""
        if not self._address:
            self._address.append(compile_native(self))
        return self._address[0]

    @property
    def key(self) -> str:
        """What the kernel cache knows it by: a hash of everything that its machine code depends on."""
        if not self._key:
            source = fingerprint(self.function, self.replace)
            text = f"{source} {self.signature} {sorted(FASTMATH)} {OPTIONS}"
            self._key.append(hashlib.sha256(text.encode()).hexdigest())
        return self._key[0]

    @property
    def is_ready(self) -> bool:
        """Whether it can run without being compiled: it is loaded, or the kernel cache holds it."""
        return bool(self._address) or cache.holds(self.key)

    @property
    def name(self) -> str:
        return self.function.__name__


def native(function: Callable[..., Any]) -> NativeFunction:
    """Declare a kernel: a plain function of (context address, chunk)."""
    return NativeFunction(function)


# Compilation --------------------------------------------------------------------------------------

_lock = threading.RLock()
_engines: list[Any] = []


def compile_native(kernel: NativeFunction) -> int:
    """The address of a kernel's machine code, from the kernel cache or compiled now.

    Raises:
        KernelError: Numba cannot compile the function; it names the author's line.
    """
    with _lock:
        stored = cache.load(kernel.key)
        address = 0 if stored is None else _loaded(stored)
        if not address:
            with no_collections(), no_rules_of_arrays():
                stored = _compile(kernel)
            cache.store(kernel.key, stored)
            address = _loaded(stored)
        if not address:
            raise KernelError(
                f"the kernel {kernel.name} is missing from its object code.", fix="run `bigmodel doctor`."
            )
        return address


def _loaded(stored: bytes) -> int:
    """The address of the kernel in what the cache holds; 0 if that is no object code of a kernel."""
    parts = stored.split(b"\n", 3)
    # LLVM crashes on what is no object code, so only an image that left the compiler gets there.
    if len(parts) != 4 or parts[2] != _seal(parts[3]):
        return 0
    name, runtime, _, image = parts
    if runtime == _NEEDS_NUMBA:
        import numba  # noqa: F401  its import makes the functions known that the object refers to
    try:
        return _link(name.decode(), image)
    except (RuntimeError, UnicodeDecodeError):
        return 0


def _seal(image: bytes) -> bytes:
    return hashlib.sha256(b"object code " + image).hexdigest().encode()


def _link(name: str, image: bytes) -> int:
    """The address of a function in object code; 0 if it is not there."""
    from llvmlite import binding

    if not _engines:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        cpu = binding.Target.from_default_triple().create_target_machine()
        _engines.append(cpu)
    module = binding.parse_assembly("")
    engine = binding.create_mcjit_compiler(
        module, binding.Target.from_default_triple().create_target_machine()
    )
    engine.add_object_file(binding.ObjectFileRef.from_data(image))
    engine.finalize_object()
    address = int(engine.get_function_address(name))
    _engines.append(engine)
    return address


_NEEDS_NUMBA, _NEEDS_NOTHING = b"numba", b"-"


def _compile(kernel: NativeFunction) -> bytes:
    """Name, what the object needs at run time, its digest, and the object, as the cache holds them."""
    cache.count_compilation(kernel.name)
    _numba()
    from numba.core import compiler, sigutils
    from numba.core.cpu_options import FastMathOptions
    from numba.core.registry import cpu_target

    arguments, result = sigutils.normalize_signature(kernel.signature)
    flags = compiler.Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nrt = False  # arrays in kernels are views of memory that plans own
    flags.fastmath = FastMathOptions(set(FASTMATH))
    try:
        compiled = compiler.compile_extra(
            cpu_target.typing_context,
            cpu_target.target_context,
            _Prepared({id(old): new for old, new in kernel.replace}).function(kernel.function),
            arguments,
            result,
            flags,
            {},
        )
    except Exception as error:  # Numba lets errors of many kinds through
        from bigmodel_core.kernels.refusal import refused

        raise refused(kernel.function, error) from (error if is_verbose() else None)
    library = compiled.library
    image = bytes(library._get_compiled_object())
    needs = _NEEDS_NOTHING if _is_self_contained(library) else _NEEDS_NUMBA
    return b"\n".join([compiled.fndesc.llvm_func_name.encode(), needs, _seal(image), image])


def _is_self_contained(library: Any) -> bool:
    """Whether everything that an object refers to is found in any Python process, without Numba."""
    names = [
        f.name for f in library._final_module.functions if f.is_declaration and not f.name.startswith("llvm.")
    ]
    try:
        process = ctypes.CDLL(None)
    except (OSError, TypeError):
        return not names
    return all(hasattr(process, name) for name in names)


def _numba() -> Any:
    import numba
    from llvmlite import binding

    if not _Prepared.ready:
        for option in OPTIONS:
            binding.set_option("bigmodel", option)
        _Prepared.ready = True
    return numba


class _Prepared:
    """Plain functions rebuilt so that what they refer to is something Numba compiles."""

    ready = False
    shared: ClassVar[dict[tuple[tuple[int, int], ...], dict[int, tuple[Any, Any]]]] = {}
    """By swaps: the replacement of a function or intrinsic. Kernels that use one helper compile it once."""

    def __init__(self, swaps: dict[int, Any]) -> None:
        self.swaps = swaps
        key = tuple(sorted((old, id(new)) for old, new in swaps.items()))
        self.made = self.shared.setdefault(key, {})

    def function(self, plain: Any) -> types.FunctionType:
        needed = references(plain)
        namespace = dict(plain.__globals__)
        closure = None
        prepared = {name: self.value(value) for name, value in needed.items()}
        namespace.update(
            {name: value for name, value in prepared.items() if name not in plain.__code__.co_freevars}
        )
        if plain.__closure__:
            closure = tuple(types.CellType(prepared[name]) for name in plain.__code__.co_freevars)
        rebuilt = types.FunctionType(plain.__code__, namespace, plain.__name__, plain.__defaults__, closure)
        rebuilt.__module__ = plain.__module__
        return rebuilt

    def value(self, value: Any) -> Any:
        value = self.swaps.get(id(value), value)
        if id(value) in self.made:
            return self.made[id(value)][1]
        if isinstance(value, Intrinsic):
            made = _numba_intrinsic(value)
        elif isinstance(value, types.FunctionType):
            import numba

            made = numba.njit(
                error_model="numpy",
                fastmath=set(FASTMATH),
                _nrt=False,
                no_cpython_wrapper=True,
                no_cfunc_wrapper=True,
                forceinline=getattr(value, "is_inlined", False),  # a loop with a call in it is no vector code
            )(self.function(value))
        elif value is math and self.swaps:
            made = types.ModuleType("math")
            made.__dict__.update({name: self.value(item) for name, item in vars(math).items()})
        else:
            return value
        self.made[id(value)] = value, made  # the value is kept, so that its id stays its own
        return made


def _numba_intrinsic(declared: Intrinsic) -> Any:
    from numba.core import sigutils
    from numba.core.types import void
    from numba.core.typing import signature as make_signature
    from numba.extending import intrinsic as numba_intrinsic

    wanted, count = None, declared.codegen.__code__.co_argcount - 3
    if declared.signature:
        arguments, result = sigutils.normalize_signature(declared.signature)
        assert result is not None
        wanted, count = make_signature(result, *arguments), len(arguments)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        before = (context, signature) if declared.typed else ()
        made = declared.codegen(*before, builder, *values)
        return context.get_dummy_value() if made is None else made

    def typed(*given: Any) -> Any:
        return wanted or make_signature(void, *given), codegen

    names = ", ".join(f"a{i}" for i in range(count))
    scope: dict[str, Any] = {"typed": typed}
    exec(f"def {declared.codegen.__name__}(typingctx, {names}):\n    return typed({names})", scope)
    return numba_intrinsic(scope[declared.codegen.__name__])
