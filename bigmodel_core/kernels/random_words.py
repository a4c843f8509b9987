"""Random bits as a function of a counter, the same on every device and in every kernel."""

from __future__ import annotations

from bigmodel_core.kernels.inlining import inline


def random_words(index, seed, step, key):
    """64 random bits: the first two words of Philox 4x32 with ten rounds (Salmon et al., 2011), counter
    (index, step), key (seed, path)."""
    c0 = index & 0xFFFFFFFF
    c1 = (index >> 32) & 0xFFFFFFFF
    c2 = step & 0xFFFFFFFF
    c3 = (step >> 32) & 0xFFFFFFFF
    k0 = (seed ^ key) & 0xFFFFFFFF
    k1 = ((seed >> 32) ^ (key >> 32)) & 0xFFFFFFFF
    for _ in range(10):
        p0 = c0 * 0xD2511F53
        p1 = c2 * 0xCD9E8D57
        c0 = ((p1 >> 32) & 0xFFFFFFFF) ^ c1 ^ k0
        c1 = p1 & 0xFFFFFFFF
        c2 = ((p0 >> 32) & 0xFFFFFFFF) ^ c3 ^ k1
        c3 = p0 & 0xFFFFFFFF
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0 | (c1 << 32)


def random_bits(index, seed, step, key):
    """32 random bits: the first word of those."""
    return random_words(index, seed, step, key) & 0xFFFFFFFF


inline(random_words, random_bits)
