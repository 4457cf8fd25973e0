"""Mean waits in a queue with priority classes as queueing theory has them; the simulator is held to them.

Arrivals are Poisson and never end, and the mean is that of the long run. Classes are in their order, the one that is
read first comes first; within a class the order is that of arrival.

Sources: A. Cobham, J. Oper. Res. Soc. Am. 2 (1954) 70, for those who are not interrupted; with interruptions H. White
and L. S. Christie, Oper. Res. 6 (1958) 79, G. F. Yeo, J. Aust. Math. Soc. 3 (1963) 113, and for several readers
J. P. Buzen and A. B. Bondi, Oper. Res. 31 (1983) 456.
"""

from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

Means = NDArray[np.float64]


def one_reader(rates: ArrayLike, means: ArrayLike, squares: ArrayLike) -> Means:
    """Return the mean wait of each class with one reader and any reading times (M/G/1), nobody being interrupted.

    Args:
        rates: arrivals a minute, above 0; (K,).
        means: of the reading time, in minutes; (K,).
        squares: mean of its square, in minutes squared: twice the mean's square where it is exponential; (K,).

    Returns:
        Minutes until reading starts; float64 (K,).

    Raises:
        ValueError: more comes than one reader can read.
    """
    rate, load = _loads(rates, means, 1)
    left = float(rate @ np.asarray(squares)) / 2
    result: Means = left / (_free_before(load) * _free_after(load))
    return result


def one_reader_interrupted(rates: ArrayLike, means: ArrayLike, squares: ArrayLike) -> Means:
    """Return the same where a study is laid aside for one of a class before its own, and resumed where it was left.

    Returns:
        Minutes in which it is not read, interruptions included; float64 (K,).
    """
    rate, load = _loads(rates, means, 1)
    mean, left = np.asarray(means, np.float64), np.cumsum(rate * np.asarray(squares)) / 2
    result: Means = (mean + left / _free_after(load)) / _free_before(load) - mean
    return result


def several_readers(rates: ArrayLike, mean: float, readers: int) -> Means:
    """Return the mean wait of each class with several readers and exponential reading times, alike for all (M/M/c).

    Args:
        rates: arrivals a minute, above 0; (K,).
        mean: of the reading time, in minutes.
        readers: at least 1.

    Returns:
        Minutes until reading starts; float64 (K,).

    Raises:
        ValueError: more comes than the readers can read.
    """
    rate, load = _loads(rates, np.full(np.shape(rates), mean), readers)
    left = waits_at_all(float(rate.sum()) * mean, readers) * mean / readers
    result: Means = left / (_free_before(load) * _free_after(load))
    return result


def several_readers_interrupted(rates: ArrayLike, mean: float, readers: int) -> Means:
    """Return the same where a study is laid aside for one of a class before its own.

    The classes up to any one are, taken together, a queue without classes: of those behind them they notice nothing.

    Returns:
        Minutes in which it is not read, interruptions included; float64 (K,).
    """
    rate, load = _loads(rates, np.full(np.shape(rates), mean), readers)
    together = np.cumsum(rate)
    waiting = [waits_at_all(one * mean, readers) * one for one in together] * (mean / readers / _free_after(load))
    result: Means = np.diff(waiting, prepend=0.0) / rate
    return result


def waits_at_all(offered: float, readers: int) -> float:
    """Return the probability that a study finds no reader free (Erlang's C formula), 0 to 1.

    Args:
        offered: arrivals a minute times the minutes that one takes; below ``readers``.
        readers: at least 1.
    """
    all_busy = offered**readers / factorial(readers) / (1 - offered / readers)
    return all_busy / (sum(offered**count / factorial(count) for count in range(readers)) + all_busy)


def _loads(rates: ArrayLike, means: ArrayLike, readers: int) -> tuple[Means, Means]:
    """The rates, and the share of the readers' time that the classes up to each one take."""
    rate = np.asarray(rates, np.float64)
    load: Means = np.cumsum(rate * np.asarray(means)) / readers
    if load[-1] >= 1:
        raise ValueError("more comes than can be read: the list grows for ever")
    return rate, load


def _free_after(load: Means) -> Means:
    result: Means = 1 - load
    return result


def _free_before(load: Means) -> Means:
    """What the classes before each one leave of the readers' time."""
    result: Means = 1 - np.concatenate(([0.0], load[:-1]))
    return result
