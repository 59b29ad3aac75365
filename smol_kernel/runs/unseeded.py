"""Functions and classes of scikit-learn, SciPy, networkx and seaborn that draw random numbers unless given a seed.

Used by `chance`. What numpy draws for itself, and a table's `sample`, is known there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

SEED_NAMES = frozenset(["random_state", "seed", "random_seed", "rng"])
LIBRARIES = frozenset(["sklearn", "scipy", "imblearn", "networkx"])
_DRAWING_NAMES = """
RandomForestClassifier RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor ExtraTreeClassifier
ExtraTreeRegressor RandomTreesEmbedding BaggingClassifier BaggingRegressor IsolationForest MLPClassifier MLPRegressor
SGDClassifier SGDRegressor PassiveAggressiveClassifier PassiveAggressiveRegressor RANSACRegressor BernoulliRBM KMeans
MiniBatchKMeans BisectingKMeans SpectralClustering k_means kmeans_plusplus GaussianMixture BayesianGaussianMixture TSNE
MDS FastICA LatentDirichletAllocation DictionaryLearning MiniBatchDictionaryLearning RBFSampler Nystroem
GaussianRandomProjection SparseRandomProjection RandomizedSearchCV HalvingRandomSearchCV ParameterSampler
permutation_importance train_test_split ShuffleSplit StratifiedShuffleSplit GroupShuffleSplit RepeatedKFold
RepeatedStratifiedKFold resample shuffle bootstrap Sobol Halton LatinHypercube PoissonDisk MultivariateNormalQMC
RandomOverSampler RandomUnderSampler SMOTE BorderlineSMOTE ADASYN SMOTEENN SMOTETomek"""
_DRAWING = frozenset(_DRAWING_NAMES.split())
_PERHAPS_NAMES = """
DecisionTreeClassifier DecisionTreeRegressor GradientBoostingClassifier GradientBoostingRegressor AdaBoostClassifier
AdaBoostRegressor HistGradientBoostingClassifier HistGradientBoostingRegressor LinearSVC LinearSVR NMF TruncatedSVD
mutual_info_classif mutual_info_regression QuantileTransformer IterativeImputer MinCovDet
EllipticEnvelope TheilSenRegressor AffinityPropagation SpectralEmbedding kmeans kmeans2 permutation_test
differential_evolution dual_annealing basinhopping"""
_PERHAPS = frozenset(_PERHAPS_NAMES.split())
"""Those whose results are the same nearly always: they draw where several are equally good, or in a rare setting."""
_GRAPHS = "networkx."
_GRAPH_NAMES = """
erdos_renyi_graph 2 gnp_random_graph 2 fast_gnp_random_graph 2 gnm_random_graph 2 barabasi_albert_graph 2
random_regular_graph 2 watts_strogatz_graph 3 newman_watts_strogatz_graph 3 connected_watts_strogatz_graph 4
powerlaw_cluster_graph 3 stochastic_block_model 3 planted_partition_graph 4 random_geometric_graph 5 random_layout 3
louvain_communities 5 louvain_partitions 4 asyn_lpa_communities 2 asyn_fluidc 3 kernighan_lin_bisection 4
spring_layout 10 fruchterman_reingold_layout 10 dual_barabasi_albert_graph 4 gaussian_random_partition_graph 6
random_partition_graph 3 relaxed_caveman_graph 3 random_labeled_tree 1 random_tree 1 LFR_benchmark_graph 11
scale_free_graph 6 configuration_model 2 expected_degree_graph 1 sigma 3 omega 3"""
_GRAPH_WORDS = _GRAPH_NAMES.split()
_SEED_PLACES: dict[str, int] = dict(zip(_GRAPH_WORDS[::2], map(int, _GRAPH_WORDS[1::2]), strict=True))
"""Those of networkx, and how many arguments stand before the seed, at most."""
_BY_NUMPY = frozenset(["fruchterman_reingold_layout", "random_layout", "spring_layout"])
"""Those of them that draw by numpy's state; the others do by Python's own."""
_IF_SHUFFLED = frozenset(["KFold", "StratifiedKFold", "StratifiedGroupKFold"])
"""Those that draw with `shuffle=True` alone."""
_UNLESS_IN_ORDER = frozenset(["train_test_split", "SGDClassifier", "SGDRegressor"])
"""Those that draw but with `shuffle=False`."""
_UNLESS_PLAIN = frozenset(["Sobol", "Halton"])
"""Those that draw but with `scramble=False`."""
_SEEDING = frozenset(["BaggingClassifier", "BaggingRegressor", "AdaBoostClassifier", "AdaBoostRegressor"])
"""Those that give seeds of their own to the estimator that they are given, and to all in it."""

_BARS = {"barplot": "errorbar", "pointplot": "errorbar", "lineplot": "errorbar", "regplot": "ci", "lmplot": "ci"}
"""Plots of seaborn's with error bars that are drawn at random, and what leaves them out if it is None."""
_OF_KINDS = {"catplot": "strip", "relplot": "scatter"}
"""Those that draw plots of several kinds, and the usual one."""


def draws(node: ast.Call, path: str) -> bool:
    """Whether the call of what is at the dotted `path` draws without a seed."""
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    name = _unseeded(node, path)
    if path.startswith(_GRAPHS):
        starred = any(isinstance(each, ast.Starred) for each in node.args)  # a seed may be among them
        return not starred and len(node.args) <= _SEED_PLACES.get(name, -1)
    if name in _IF_SHUFFLED:
        return "shuffle" in given and not _is(given["shuffle"], False)
    if name in _UNLESS_IN_ORDER and _is(given.get("shuffle"), False):
        return False
    if name in _UNLESS_PLAIN and _is(given.get("scramble"), False):
        return False
    begun = given.get("init")  # where clusters begin may be told
    drawn = name in _DRAWING or path.startswith("sklearn.datasets.make_")
    return bool(name) and drawn and (begun is None or isinstance(begun, ast.Constant))


def state_of(path: str) -> str:
    """The module by whose state the function at this path draws."""
    by_python = path.startswith(_GRAPHS) and path.rpartition(".")[2] not in _BY_NUMPY
    return "random" if by_python else "numpy.random"


def may_draw(node: ast.Call, path: str) -> bool:
    """Whether it does, or does now and then."""
    return draws(node, path) or _unseeded(node, path) in _PERHAPS


def drawn_at_random(node: ast.Call, path: str) -> str:
    """What seaborn draws at random in a plot, and what to do about it, as the end of a sentence."""
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    library, _, name = path.partition(".")
    if library != "seaborn" or None in given:
        return ""
    kind = given.get("kind", ast.Constant(_OF_KINDS.get(name)))
    name = f"{kind.value}plot" if name in _OF_KINDS and isinstance(kind, ast.Constant) else name
    if name == "stripplot" and not _is(given.get("jitter"), False):
        return "seaborn moves the points of a `stripplot` at random: give `jitter=False`"
    bars = given.get(_BARS.get(name, ""), ast.Constant("ci"))
    if name not in _BARS or is_seeded(node) or (isinstance(bars, ast.Constant) and bars.value in (None, "sd", "se")):
        return ""
    return f"seaborn draws the error bars of a `{name}` at random: give `seed=`, or `{_BARS[name]}=None`"


def seeded_by_others(calls: Iterable[tuple[ast.Call, str]]) -> set[int]:
    """The ids of what is called within such a call as gives its seed on: `BaggingRegressor(Forest(), random_state=0)`.
    Each call comes with its dotted path."""
    return {
        id(part)
        for node, path in calls
        if path.rpartition(".")[2] in _SEEDING and path.partition(".")[0] in LIBRARIES and is_seeded(node)
        for part in ast.walk(node)
        if part is not node
    }


def seeds_set_apart(nodes: Iterable[ast.AST]) -> bool:
    """Whether a seed is told in another way than to the call: `set_params(random_state=0)`, `{"random_state": [0]}`."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "random_state" and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("random_state"))
        or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("set_params") and is_seeded(node))
        for node in nodes
    )


def _unseeded(node: ast.Call, path: str) -> str:
    """The name of what is called, if it is one of these libraries' and is given no seed; else it is empty."""
    library, _, rest = path.partition(".")
    return rest.rpartition(".")[2] if library in LIBRARIES and not is_seeded(node) else ""


def is_seeded(node: ast.Call) -> bool:
    """Whether a seed may be among the arguments."""
    return any(
        keyword.arg is None or (keyword.arg.rpartition("__")[2] in SEED_NAMES and not _is(keyword.value, None))
        for keyword in node.keywords
    )


def _is(value: ast.expr | None, constant: object) -> bool:
    return isinstance(value, ast.Constant) and value.value is constant
