"""Mathematical functions of float32, written so that LLVM turns loops over them into vector code.

Polynomials after range reduction (Cody and Waite, 1980): those of `exp`, `expm1` and `log` are from Moshier's
Cephes, those of `erf` from Juffa. Each is within two or three units in the last place, whatever x is.
"""

from __future__ import annotations

from bigmodel_core.kernels.cpu.engine.floats import (
    either64,
    either_whole,
    exponent32,
    llvm,
    mantissa32,
    narrow64,
    power_of_two32,
    scale32,
    sine_of_quarter,
    single,
    turned_with32,
    turns_of_large32,
    whole32,
    whole64,
    widen32,
)

_round32, _fma32, _copysign32 = (
    llvm("float32", "rint"),
    llvm("float32", "fma", 3),
    llvm("float32", "copysign", 2),
)
_fabs32, _round64, _fma64 = llvm("float32", "fabs"), llvm("float64", "rint"), llvm("float64", "fma", 3)

_LOG2E, _LN2_HIGH, _LN2_LOW = single(1.44269504), single(-0.693359375), single(2.12194440e-4)
_E_MAX, _E_MIN = single(89.0), single(-104.0)
_E0, _E1, _E2 = single(1.9875691500e-4), single(1.3981999507e-3), single(8.3334519073e-3)
_E3, _E4, _E5 = single(4.1665795894e-2), single(1.6666665459e-1), single(0.5)
_HALF, _ONE, _TWO = single(0.5), single(1.0), single(2.0)
_FLAT, _STEEP = single(20.0), single(87.0)


def _reduced32(x):
    """n and exp(r) - 1, where x = n ln(2) + r and |r| <= ln(2) / 2."""
    n = _round32(x * _LOG2E())
    r = _fma32(n, _LN2_LOW(), _fma32(n, _LN2_HIGH(), x))
    p = _fma32(_E0(), r, _E1())
    p = _fma32(p, r, _E2())
    p = _fma32(p, r, _E3())
    p = _fma32(p, r, _E4())
    p = _fma32(p, r, _E5())
    return n, _fma32(p, r * r, r)


def exp32(x):
    x = _E_MAX() if x > _E_MAX() else x
    x = _E_MIN() if x < _E_MIN() else x
    n, rest = _reduced32(x)
    return scale32(rest + _ONE(), whole32(n))


def expm1_32(x):
    """exp(x) - 1 with all digits near 0; half of it is computed, which does not overflow before the end."""
    y = _E_MAX() if x > _E_MAX() else x
    y = -_FLAT() if y < -_FLAT() else y
    n, rest = _reduced32(y)
    scale = power_of_two32(whole32(n) - 1)
    return _copysign32(_fma32(scale, rest, scale - _HALF()) * _TWO(), x)  # also of -0


def tanh32(x):
    """(exp(2x) - 1) / (exp(2x) + 1), 1 or -1 from where float32 has nothing closer."""
    y = x + x
    y = _FLAT() if y > _FLAT() else y
    y = -_FLAT() if y < -_FLAT() else y
    n, rest = _reduced32(y)
    scale = power_of_two32(whole32(n))
    less_one = _fma32(scale, rest, scale - _ONE())
    return _copysign32(less_one / (less_one + _TWO()), x)  # also of -0


def sigmoid32(x):
    """1 / (1 + exp(-x)), which stays a normal number at both ends."""
    y = -x
    y = _STEEP() if y > _STEEP() else y
    y = -_STEEP() if y < -_STEEP() else y
    n, rest = _reduced32(y)
    scale = power_of_two32(whole32(n))
    return _ONE() / (_fma32(scale, rest, scale) + _ONE())


# Logarithms -------------------------------------------------------------------------------------------------

_NORMAL, _UP, _UP_POWERS = single(2.0**-126), single(2.0**23), single(23.0)
_ZERO, _INFINITE, _NAN = single(0.0), single(float("inf")), single(float("nan"))
_HIGH, _LOW = single(0.693359375), single(-2.12194440e-4)
_L0, _L1, _L2 = single(7.0376836292e-2), single(-1.1514610310e-1), single(1.1676998740e-1)
_L3, _L4, _L5 = single(-1.2420140846e-1), single(1.4249322787e-1), single(-1.6668057665e-1)
_L6, _L7, _L8 = single(2.0000714765e-1), single(-2.4999993993e-1), single(3.3333331174e-1)


def _log_of_parts(n, f):
    """n ln(2) + log(1 + f), where 1 + f is from sqrt(1/2) up to sqrt(2)."""
    p = _fma32(_L0(), f, _L1())
    p = _fma32(p, f, _L2())
    p = _fma32(p, f, _L3())
    p = _fma32(p, f, _L4())
    p = _fma32(p, f, _L5())
    p = _fma32(p, f, _L6())
    p = _fma32(p, f, _L7())
    p = _fma32(p, f, _L8())
    rest = _fma32(f * f, _fma32(p, f, -_HALF()), n * _LOW())
    return _fma32(n, _HIGH(), f + rest)


def _at_the_ends(found, x):
    """log(x) where x is 0, negative, infinite or NaN, else what was found."""
    found = found if x < _INFINITE() else x
    found = found if x > _ZERO() else -_INFINITE()
    return _NAN() if x < _ZERO() or x != x else found


def log32(x):
    is_small = x < _NORMAL()
    y = x * _UP() if is_small else x
    n = exponent32(y) - (_UP_POWERS() if is_small else _ZERO())
    return _at_the_ends(_log_of_parts(n, mantissa32(y) - _ONE()), x)


_WHOLE = single(2.0**24)


def log1p_32(x):
    """log(1 + x) by the parts m 2**n of 1 + x, where m - 1 is x 2**-n + (2**-n - 1), rounded once: x itself
    near 0. From 2**24 on, 1 + x is as good as x."""
    y = x + _ONE()
    is_large = y > _WHOLE()
    n = exponent32(y)
    scale = power_of_two32(whole32(_ZERO() if is_large else -n))
    f = mantissa32(y) - _ONE() if is_large else _fma32(x, scale, scale - _ONE())
    found = _at_the_ends(_log_of_parts(n, f), y)
    return x if x == _ZERO() else found  # also -0


# The error function -----------------------------------------------------------------------------------------

_MIDDLE = single(0.927734375)
_F0, _F1, _F2 = single(-1.72853470e-5), single(3.83197126e-4), single(-3.88396438e-3)
_F3, _F4, _F5 = single(2.42546219e-2), single(-1.06777877e-1), single(-6.34846687e-1)
_F6 = single(-1.28717512e-1)
_N0, _N1, _N2 = single(-5.96761703e-4), single(4.99119423e-3), single(-2.67681349e-2)
_N3, _N4, _N5 = single(1.12819925e-1), single(-3.76125336e-1), single(1.28379166e-1)


def erf32(x):
    """x times a polynomial of its square near 0; 1 - exp of a polynomial of |x| beyond."""
    size = _fabs32(x)
    square = x * x
    p = _fma32(_fma32(_F0(), size, _F1()), square, _fma32(_F2(), size, _F3()))
    p = _fma32(p, size, _F4())
    p = _fma32(p, size, _F5())
    p = _fma32(p, size, _F6())
    far = _copysign32(_ONE() - exp32(_fma32(p, size, -size)), x)
    q = _fma32(_N0(), square, _N1())
    q = _fma32(q, square, _N2())
    q = _fma32(q, square, _N3())
    q = _fma32(q, square, _N4())
    q = _fma32(q, square, _N5())
    near = _fma32(q, x, x)
    return far if size > _MIDDLE() else near


# Sine and cosine --------------------------------------------------------------------------------------------

_S0, _S1, _S2 = single(-1.9515295891e-4), single(8.3321608736e-3), single(-1.6666654611e-1)
_C0, _C1, _C2 = single(2.443315711809948e-5), single(-1.388731625493765e-3), single(4.166664568298827e-2)
_LARGE = single(2.0**25)
_QUARTERS, _QUARTERS_REST = 0.636619770899415, 1.4681663269012186e-09
"""2 / pi: 29 bits, whose product with a float32 is exact, and the rest."""
_HALF_QUARTER = 2**61
_SHARE = 2.0**-62


def _sine_ahead(size, ahead):
    """The sine of an angle of 0 or more and `ahead` quarters of a turn, by the nearest whole number of
    quarters and what is left of the angle."""
    wide = widen32(size)
    nearest = _round64(_fma64(wide, _QUARTERS, wide * _QUARTERS_REST))
    left = _fma64(wide, _QUARTERS_REST, _fma64(wide, _QUARTERS, -nearest))
    turns = turns_of_large32(size)
    quarters = (turns + _HALF_QUARTER) >> 62
    is_large = size >= _LARGE()
    whole = either_whole(is_large, quarters, whole64(nearest))
    rest = either64(is_large, (turns - (quarters << 62)) * _SHARE, left)
    z = narrow64(rest * 1.5707963267948966) if size < _INFINITE() else _NAN()
    square = z * z
    p = _fma32(_fma32(_S0(), square, _S1()), square, _S2())
    sine = _fma32(z * square, p, z)
    q = _fma32(_fma32(_C0(), square, _C1()), square, _C2())
    cosine = _fma32(square * square, q, _fma32(-_HALF(), square, _ONE()))
    return sine_of_quarter(whole + ahead, sine, cosine)


def sin32(x):
    return turned_with32(_sine_ahead(_fabs32(x), 0), x)


def cos32(x):
    return _sine_ahead(_fabs32(x), 1)
