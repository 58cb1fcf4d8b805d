"""How far apart two sets of features lie: Frechet and kernel distance, precision and recall, with what they owe to few samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 25  # bootstrap draws, each with decompositions of its own: their spread is then known within a seventh
PARTS = 8  # sample sizes that the value at infinitely many is read from


@dataclass
class Moments:
    """Count, mean and covariance of features that come piece by piece; float64, in memory that does not grow with their number.

    Chan, Golub & LeVeque 1983, "Algorithms for Computing the Sample Variance", eq. 2.1.
    """

    count: int
    mean_D: np.ndarray
    scatter_DD: np.ndarray

    @classmethod
    def none(cls, width: int) -> "Moments":
        """Of no features, each `width` numbers."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, features_ND: np.ndarray) -> "Moments":
        """Of all these features."""
        x = np.array(features_ND, np.float64)
        mean = x.mean(axis=0)
        x -= mean
        return cls(len(x), mean, x.T @ x)

    def __add__(self, other: "Moments") -> "Moments":
        """Of both sets together."""
        count = self.count + other.count
        apart = other.mean_D - self.mean_D
        mean = self.mean_D + apart * (other.count / max(count, 1))
        between = np.outer(apart, apart) * (self.count * other.count / max(count, 1))
        return Moments(count, mean, self.scatter_DD + other.scatter_DD + between)

    @property
    def covariance_DD(self) -> np.ndarray:
        """With N - 1 below, as `np.cov` has it."""
        return self.scatter_DD / max(self.count - 1, 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """`|m_a - m_b|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)`, the squared 2-Wasserstein distance of two Gaussians.

    Dowson & Landau 1982, eq. 4; Heusel et al. 2017, eq. 6, who write (A B)^1/2, whose trace is the same. That trace is the sum of the
    singular values of L^T M for any L L^T = A and M M^T = B: all in float64, and as exact where covariances are singular, as those of
    fewer samples than features are.
    """
    factors = [factor(moments.covariance_DD) for moments in (a, b)]
    cross = np.linalg.svd(factors[0].T @ factors[1], compute_uv=False).sum()
    apart = a.mean_D - b.mean_D
    return float(apart @ apart + np.trace(a.covariance_DD) + np.trace(b.covariance_DD) - 2 * cross)


def factor(matrix_DD: np.ndarray) -> np.ndarray:
    """Some L with L L^T the matrix, which is symmetric without negative eigenvalues: Cholesky's, or where there is none by eigenvectors.

    Eigenvalues below 0, which rounding made, are taken for 0.
    """
    try:
        return np.linalg.cholesky(matrix_DD)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix_DD)
        return vectors * np.sqrt(np.maximum(values, 0))


def frechet_of_rows(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """`frechet_distance` of two sets of features.

    With fewer rows than features the trace is cheaper as the sum of the singular values of `X Y^T / ((N - 1)(M - 1))^1/2`, X and Y
    the rows less their means: A = X^T X / (N - 1), and A^1/2 is a rotation of X / (N - 1)^1/2.
    """
    if max(len(a_ND), len(b_MD)) >= a_ND.shape[1]:
        return frechet_distance(Moments.of(a_ND), Moments.of(b_MD))
    a, b = (np.asarray(x, np.float64) for x in (a_ND, b_MD))
    x, y = ((rows - rows.mean(axis=0)) / max(len(rows) - 1, 1) ** 0.5 for rows in (a, b))
    apart = a.mean(axis=0) - b.mean(axis=0)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(apart @ apart + (x**2).sum() + (y**2).sum() - 2 * cross)


def frechet_spread(a_ND: np.ndarray, b_MD: np.ndarray, seed: int = 0) -> float:
    """The standard deviation of the distance over bootstrap draws of both sets (Efron 1979).

    Only their spread is of use: sets drawn with replacement hold fewer rows that differ, and so lie further apart than those they
    are drawn from.
    """
    rng = np.random.default_rng(seed)
    drawn = [frechet_of_rows(*(x[rng.integers(0, len(x), len(x))] for x in (a_ND, b_MD))) for _ in range(DRAWS)]
    return float(np.std(drawn, ddof=1))


def frechet_by_count(a_ND: np.ndarray, b_MD: np.ndarray, seed: int = 0) -> list[tuple[int, float]]:
    """The distance of growing parts of both sets, (rows, value) each, from a quarter of the smaller set's rows on."""
    rng = np.random.default_rng(seed)
    most = min(len(a_ND), len(b_MD))
    sizes = np.unique(np.linspace(max(2, most // 4), most, PARTS).astype(int)).tolist()
    a_ND, b_MD = (x[rng.permutation(len(x))] for x in (a_ND, b_MD))
    return [(n, frechet_of_rows(a_ND[:n], b_MD[:n])) for n in sizes]


def at_infinity(curve: Sequence[tuple[int, float]]) -> float:
    """Where a distance by rows tends to.

    The bias of N samples falls as 1 / N (Chong & Forsyth 2020, "Effectively Unbiased FID", section 3), so the line through values
    against 1 / N meets 1 / N = 0 there.
    """
    if len(curve) < 2:
        return curve[-1][1]
    return float(np.polyfit([1 / n for n, _ in curve], [value for _, value in curve], 1)[1])


def kernel_distance(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy under `k(x, y) = (x . y / D + 1)^3`: 0 in the mean for sets of one distribution.

    Gretton et al. 2012, eq. 3; the kernel of Binkowski et al. 2018 (KID), section 4.
    """
    a, b = (np.asarray(x, np.float64) for x in (a_ND, b_MD))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def precision_recall(real_ND: np.ndarray, made_MD: np.ndarray, neighbours: int = 3) -> tuple[float, float]:
    """The share of what was made that lies among the real, and of the real that lies among what was made.

    "Among": within the distance of some member of the set to its k-th neighbour (Kynkaanniemi et al. 2019, eq. 1 and 2).
    """

    def among(members: np.ndarray, x: np.ndarray) -> float:
        reach_N = np.sort(distances(members, members), axis=1)[:, min(neighbours, len(members) - 1)]
        return float((distances(x, members) <= reach_N[None]).any(axis=1).mean())

    return among(real_ND, made_MD), among(made_MD, real_ND)


def distances(x_ND: np.ndarray, y_MD: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, M]."""
    x, y = np.asarray(x_ND, np.float64), np.asarray(y_MD, np.float64)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))
