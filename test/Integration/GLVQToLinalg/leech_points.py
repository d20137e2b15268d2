"""The points of `#glvq.leech` and `#glvq.e8p` by the text of
docs/LeechLattice.md and docs/CheckpointFormat.md alone: plain Python, no part
of the project's libraries."""

import itertools
from functools import cache
from math import comb

import numpy as np


@cache
def golay_words():
    words = []
    for message in range(4096):
        word = 0
        for bit in range(12):
            if message >> bit & 1:
                word ^= 0xC75 << bit
        words.append(word | (word.bit_count() % 2) << 23)
    return sorted(words, key=lambda word: (word.bit_count(), word))


def multisets(slots, norm, values):
    """All counts of `values` (descending) with so many slots and such a norm,
    few of the large ones first."""
    if not values:
        if slots == 0 and norm == 0:
            yield ()
        return
    square = values[0] ** 2
    for count in range(slots + 1):
        if count * square > norm:
            break
        for rest in multisets(slots - count, norm - count * square, values[1:]):
            yield (count, *rest)


class LeechClass:
    def __init__(self, odd, weight, on, off):
        """`on`, `off`: (value, count) descending, of counts that are not 0."""
        self.odd, self.on, self.off = odd, on, off
        every = golay_words()
        self.words = every if odd else [w for w in every if w.bit_count() == weight]
        self.negatives = sum(v * n for v, n in on + off) // 4 % 2
        self.sign_bits = 0 if odd else max(weight - 1, 0) + sum(n for v, n in off if v)
        self.choices = []  # (side, value, positions left, count)
        for side, counts, slots in (("on", on, 24 if odd else weight), ("off", off, 24 - weight)):
            for value, count in counts[:-1]:
                self.choices.append((side, value, slots, count))
                slots -= count
        self.size = len(self.words) << self.sign_bits
        for _, _, n, k in self.choices:
            self.size *= comb(n, k)

    def point(self, number):
        signs = number & ((1 << self.sign_bits) - 1)
        number >>= self.sign_bits
        ranks = []
        for _, _, n, k in reversed(self.choices):
            ranks.append(number % comb(n, k))
            number //= comb(n, k)
        word = self.words[number]
        on_word = [i for i in range(24) if word >> i & 1]
        free = {"on": list(range(24)) if self.odd else on_word, "off": [i for i in range(24) if i not in on_word]}
        x = [0] * 24
        for (side, value, n, k), rank in zip(self.choices, reversed(ranks)):
            taken = []
            for i in free[side]:
                if rank >= comb(n - 1, k):
                    rank -= comb(n - 1, k)
                    k -= 1
                    taken.append(i)
                    x[i] = value
                n -= 1
            free[side] = [i for i in free[side] if i not in taken]
        for side, counts in (("on", self.on), ("off", self.off)):
            if counts:
                for i in free[side]:
                    x[i] = counts[-1][0]
        if self.odd:
            return [v if v % 4 == (3 if i in on_word else 1) else -v for i, v in enumerate(x)]
        last = on_word[-1] if on_word else None
        for i in range(24):
            if x[i] and i != last:
                x[i] *= -1 if signs & 1 else 1
                signs >>= 1
        if last is not None and sum(x[i] < 0 for i in on_word) % 2 != self.negatives:
            x[last] *= -1
        return x


@cache
def classes(shell):
    def counted(values, counts):
        return tuple((v, n) for v, n in zip(values, counts) if n)

    norm, found = 16 * shell, []
    even_on, even_off, odd = (14, 10, 6, 2), (12, 8, 4, 0), tuple(range(15, 0, -2))
    for weight in (0, 8, 12, 16, 24):
        for on_norm in range(norm + 1):
            for on, off in itertools.product(
                multisets(weight, on_norm, even_on), multisets(24 - weight, norm - on_norm, even_off)
            ):
                c = LeechClass(False, weight, counted(even_on, on), counted(even_off, off))
                if weight or not c.negatives:
                    found.append(c)
    for counts in multisets(24, norm, odd):
        if sum(n for v, n in zip(odd, counts) if v % 8 in (1, 7)) % 2:
            found.append(LeechClass(True, 0, counted(odd, counts), ()))
    return found


def size(first, last):
    return sum(c.size for m in range(first, last + 1) for c in classes(m))


def point(number, first, last):
    for m in range(first, last + 1):
        for c in classes(m):
            if number < c.size:
                return c.point(number)
            number -= c.size
    raise ValueError("beyond the last shell")


@cache
def e8p_patterns():
    halves = [p for p in itertools.product((1, 3, 5), repeat=8) if sum(v * v for v in p) <= 48]
    return [np.array(p) / 2 for p in sorted(halves, key=lambda p: (sum(v * v for v in p), p))[:256]]


def e8p_point(code):
    x = e8p_patterns()[code & 255].copy()
    for i in range(7):
        if code >> (8 + i) & 1:
            x[i] *= -1
    if x.sum() % 2:
        x[7] *= -1
    return x + (0.25 if code >> 15 else -0.25)
