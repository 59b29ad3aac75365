"""The clock and chance are seen in the text of cells: in functions of libraries, in SQL, by other names."""

from __future__ import annotations

import pytest

from smol_kernel.runs.chance import chance, hint, hint_of_pictures

SPLIT = "from sklearn.model_selection import train_test_split"
FOREST = "from sklearn.ensemble import RandomForestClassifier"
FOLDS = "from sklearn.model_selection import KFold"
SQL = "import sqlite3\ncon = sqlite3.connect(':memory:')"


@pytest.mark.parametrize(
    "cell",
    [
        "import networkx as nx\nparts = nx.community.louvain_communities(nx.karate_club_graph())",
        "import networkx as nx\nG = nx.erdos_renyi_graph(100, p=0.1)\nn = len(G.edges)",
        "from networkx.generators.random_graphs import watts_strogatz_graph\nG = watts_strogatz_graph(100, 4, 0.1)",
        "import networkx as nx\nimport random\nrandom.seed(1)\npos = nx.spring_layout(G)",
        "import networkx as nx\nimport random\nrandom.seed(1)\nlay = {'s': nx.spring_layout}\npos = lay['s'](G)",
        "import networkx as nx\nimport numpy as np\nnp.random.seed(1)\nG = nx.erdos_renyi_graph(9, 0.5)",
        "import networkx as nx\nimport numpy as np\nnp.random.seed(1)\nc = nx.community.louvain_communities(G)",
        "import networkx as nx\npos = nx.fruchterman_reingold_layout(G)",
        "import networkx as nx\nT = nx.random_labeled_tree(5)",
        f"{SPLIT}\na, b = train_test_split(df, test_size=0.25)",
        f"{SPLIT}\na, b = train_test_split(df, random_state=None)",
        f"{FOREST}\nm = RandomForestClassifier(n_estimators=20).fit(X, y)",
        f"import random\nrandom.seed(0)\n{FOREST}\nm = RandomForestClassifier()",
        f"import torch\ntorch.manual_seed(0)\n{FOREST}\nm = RandomForestClassifier()",
        "import torch\nimport pandas as pd\ntorch.cuda.manual_seed_all(0)\ndf = pd.DataFrame(rows)\nfew = df.sample(3)",
        "import tensorflow as tf\ntf.random.set_seed(0)\nimport numpy as np\nx = np.random.rand()",
        "import polars as pl\npl.set_random_seed(0)\nimport random\nx = random.random()",
        "import numpy as np\nsampler.set_seed(0)\nx = np.random.rand()",
        "import pytorch_lightning as pl\npl.seed_everything(None)\nfew = df.sample(3)",
        "from sklearn import ensemble as e\nm = e.RandomForestRegressor(max_depth=3)",
        "import sklearn.cluster\nk = sklearn.cluster.KMeans(3, n_init=10, init='k-means++')",
        "from sklearn.datasets import make_blobs\nX, y = make_blobs(n_samples=30, centers=3)",
        "from sklearn import datasets\nX, y = datasets.make_moons(100)",
        f"{FOLDS}\nfolds = KFold(5, shuffle=True)",
        "from sklearn.utils import resample\nfew = resample(df, n_samples=3)",
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.neural_network import MLPClassifier\n"
        "m = make_pipeline(StandardScaler(), MLPClassifier())",
        "from scipy import stats\nr = stats.bootstrap((x,), np.mean)",
        "from scipy.stats import qmc\nx = qmc.Sobol(2).random(8)",
        "from scipy.stats import qmc\nx = qmc.LatinHypercube(2, scramble=False).random(8)",
        "from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor\n"
        "m = BaggingRegressor(ExtraTreesRegressor(n_estimators=3))",
        "from sklearn.ensemble import RandomForestRegressor\nfrom sklearn.impute import IterativeImputer\n"
        "m = IterativeImputer(estimator=RandomForestRegressor(n_estimators=5), max_iter=2, random_state=0)",
        f"{FOREST}\nfrom sklearn.model_selection import RandomizedSearchCV\n"
        "m = RandomizedSearchCV(RandomForestClassifier(), options_of_it, random_state=0)",
    ],
)
def test_what_a_library_draws_without_a_seed_is_seen(cell):
    assert "without a seed" in chance([cell])


@pytest.mark.parametrize(
    "cell",
    [
        "import networkx as nx\nG = nx.erdos_renyi_graph(100, 0.1, 42)\npos = nx.spring_layout(G, seed=1)",
        "import random\nimport networkx as nx\nrandom.seed(0)\nG = nx.barabasi_albert_graph(100, 3)",
        "import networkx as nx\nimport numpy as np\nnp.random.seed(1)\npos = nx.spring_layout(G)",
        "import networkx as nx\npos = nx.spring_layout(G, None, None, None, 50, 1e-4, 'weight', 1, None, 2, 42)",
        "import networkx as nx\nG = nx.erdos_renyi_graph(*told)",
        "import networkx as nx\nn = nx.number_connected_components(nx.karate_club_graph())",
        f"{SPLIT}\na, b = train_test_split(df, test_size=0.25, random_state=0)",
        f"{SPLIT}\na, b = train_test_split(df, shuffle=False)",
        f"{SPLIT}\na, b = train_test_split(df, **options)",
        f"{SPLIT}\ndef train_test(df): return df[:3], df[3:]\na, b = train_test(df)",
        f"{FOREST}\nm = RandomForestClassifier(random_state=SEED)",
        f"{FOREST}\nm = RandomForestClassifier()\nm.set_params(random_state=1)",
        f"{FOREST}\nm = make_pipeline(RandomForestClassifier()).set_params(randomforestclassifier__random_state=1)",
        f"{FOREST}\nm = RandomForestClassifier()\nm.random_state = 1",
        f"{FOREST}\nm = GridSearchCV(RandomForestClassifier(), {{'random_state': [0], 'n_estimators': [5, 9]}})",
        f"{FOREST}\nimport numpy as np\nnp.random.seed(0)\nm = RandomForestClassifier()",
        f"import keras\nkeras.utils.set_random_seed(1)\nimport random\n{FOREST}\nm = RandomForestClassifier()\n"
        "x = random.random()",
        "from transformers import set_seed\nset_seed(1)\nimport numpy as np\nx = np.random.rand()",
        "import pytorch_lightning as pl\npl.seed_everything(1)\nimport numpy as np\nx = np.random.rand()\n"
        "few = df.sample(3)",
        "import polars as pl\npl.set_random_seed(1)\ntable = pl.read_csv('a.csv')\nfew = table.sample(3)",
        f"{FOREST}\nassert isinstance(m, RandomForestClassifier)",
        f"{FOLDS}\nfolds = KFold(5)\nother = KFold(3, shuffle=False)",
        "from sklearn.cluster import KMeans\nk = KMeans(3, init=centers, n_init=1)",
        "from sklearn.linear_model import LinearRegression, Ridge\nm = LinearRegression().fit(X, y)",
        "from sklearn.pipeline import make_pipeline\nm = make_pipeline(StandardScaler())",
        "from sklearn.datasets import load_iris, make_blobs\nd = load_iris()\nX, y = make_blobs(30, random_state=3)",
        "from sklearn.tree import DecisionTreeClassifier\nm = DecisionTreeClassifier(max_depth=2).fit(X, y)",
        "from scipy import stats\nr = stats.bootstrap((x,), np.mean, rng=0)\nt = stats.ttest_ind(a, b)",
        "weekly = df.resample('W').sum()\nshuffle(cards)\nbootstrap(x)",
        "from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor\n"
        "m = BaggingRegressor(make_pipeline(ExtraTreesRegressor(n_estimators=3)), random_state=0)",
        "from scipy.stats import qmc\nx = qmc.Sobol(2, scramble=False).random(8) + qmc.Halton(d=2, scramble=False)",
    ],
)
def test_what_is_given_a_seed_or_needs_none_is_no_chance(cell):
    assert chance([cell]) == ""


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("rows = con.execute('SELECT name, CURRENT_DATE - born FROM people').fetchall()", "`CURRENT_DATE` in SQL"),
        ("n = con.execute(\"select count(*) from t where d > date('now','-720 days')\").fetchone()", "clock"),
        ("n = con.execute(\"select julianday('now') - julianday(d) from t\").fetchone()", "clock"),
        ("n = con.execute(\"select strftime('%Y', 'now')\").fetchone()", "clock"),
        ("n = con.execute(\"select strftime('%Y')\").fetchone()", "clock"),
        ("x = pd.read_sql_query('select *, NOW() as t from t', con)", "clock"),
        ("q = 'select * from t where d < current_timestamp'\nx = pd.read_sql(q, con)", "clock"),
        ("q = 'select * from t'\nq += ' where d < CURRENT_DATE'\nx = pd.read_sql(q, con)", "clock"),
        ("q = 'select * from t ' + 'where d < CURRENT_DATE'\nx = pd.read_sql(q, con)", "clock"),
        ("q = f\"select * from {t} where d < date( 'now', '-{n} days')\"\nx = pd.read_sql(q, con)", "clock"),
        (
            "def q(s): return pd.read_sql(s, con)\nx = q('''\n  with a as (select date('now')) select * from a''')",
            "clock",
        ),
        ("import duckdb\nx = duckdb.sql('select today() - d from df').df()", "clock"),
        ("import duckdb\nx = duckdb.query(\"select 'today'::date - d from df\").df()", "clock"),
        ("x = con.execute('select * from t order by RANDOM() limit 3').fetchall()", "without a seed"),
        ("x = con.execute('select date(\"now\"), d from t').fetchall()", '`date("now"` in SQL'),
        ("x = con.execute('select strftime(\"%Y\") from t').fetchall()", "clock"),
        ("x = con.execute('select date(\\n  d,\\n  \\'now\\') from t')", "`date( d, 'now'` in SQL"),
        ("w = ''\nw += ' and d < CURRENT_DATE'\nx = pd.read_sql(f'select * from t where a {w}', con)", "clock"),
        ("w = ''\nw += ' and d < CURRENT_DATE'\nq = 'select * from t' + w\nx = pd.read_sql(q, con)", "clock"),
        ("self.q = 'select * from t'\nself.q += ' where d < CURRENT_DATE'\nx = pd.read_sql(self.q, con)", "clock"),
        ("import duckdb\nx = duckdb.sql('from df using sample 10% (bernoulli)').df()", "without a seed"),
        ("x = con.execute('select * from a tablesample 10% where round(v, 2) > 1')", "without a seed"),
        ("x = con.execute('from a tablesample 10% (system, 7)')\ny = con.execute('select random()')", "without a seed"),
        ("import duckdb\nx = duckdb.sql('from df using sample 10 rows').df()", "without a seed"),
    ],
)
def test_the_clock_and_chance_in_sql_are_seen(cell, reason):
    assert reason in chance([SQL, cell])


@pytest.mark.parametrize(
    "cell",
    [
        "con.execute('create table t (name text, at text default current_timestamp)')",
        "con.execute(\"create table t (name text, at text default (datetime('now')))\")",
        "con.execute(\"insert into t values ('now', 'CURRENT_DATE', 'random()')\")",
        "x = con.execute('select date(d), strftime(\\'%Y\\', d), \"current_date\", t.now from t -- CURRENT_DATE')",
        "x = con.execute('select max(current_date_of_sale), randomised, today from t')",
        "x = df.query('current_date > 3')\ny = con.execute('select 1')",
        "x = con.execute('select setseed(0.5)')\ny = con.execute('select random()')",
        "x = con.execute('select d from t')\nprint('Now() is not CURRENT_DATE')",
        "text = \"select date('now')\"",
        "x = con.execute('from df USING SAMPLE 10% (system, 377)')\ny = con.execute('from df using sample 5 rows "
        "(reservoir,7)')",
        "x = con.execute('select * from t TABLESAMPLE 10% (bernoulli, 42)')",
        "x = con.execute('select * from t TABLESAMPLE reservoir(20 ROWS) REPEATABLE (100)')",
        "x = con.execute('select d from t')\ntext = 'Note: '\ntext += 'now() and CURRENT_DATE are read by others'",
    ],
)
def test_other_words_of_sql_are_no_clock(cell):
    assert chance([SQL, cell]) == ""


MODELS = "from sklearn.ensemble import RandomForestClassifier as Forest, ExtraTreesClassifier as Trees"


@pytest.mark.parametrize(
    "cell",
    [
        "for Model in (Forest, Trees):\n    scores[Model.__name__] = score(Model(n_estimators=10), X, y)",
        "models = {'f': Forest, 't': Trees}\nfitted = {name: Model().fit(X, y) for name, Model in models.items()}",
        "models = {}\nmodels['f'] = Forest\nm = models['f'](max_depth=2)",
        "models = {'r': Ridge, 'f': Forest}\nm = models['f']()",
        "models = {'r': Ridge, 'f': Forest}\nm = models[name]()",
        "models = {'r': Ridge}\nmodels.update(r=Forest)\nm = models['r']()",
        "models = {'r': Ridge}\nif deep:\n    models = {'r': Forest}\nm = models.get('r')()",
        "m = [Ridge, Forest][1]()",
        "models = []\nmodels.append(('f', Forest))\nfor name, Model in models:\n    Model().fit(X, y)",
        "kind = Forest if deep else Trees\nm = kind()",
        "def fit(Model, X):\n    return Model().fit(X)\nm = fit(Forest, X)",
        "def fit(Model=Forest):\n    return Model().fit(X)\nm = fit()",
        "m = Parallel(2)(delayed(lambda Model: Model().fit(X))(Model) for Model in [Forest])",
        "class Trial:\n    def __init__(self, kind):\n        self.kind = kind\n"
        "    def run(self):\n        return self.kind().fit(X)\nm = Trial(Forest).run()",
        "from functools import partial\nmade = partial(Forest, max_depth=2)\nm = made()",
        "from sklearn.inspection import permutation_importance\nr = delayed(permutation_importance)(m, X, y)",
        "import random\npick = random.choice\nx = pick([1, 2])",
    ],
)
def test_what_draws_by_another_name_is_seen(cell):
    assert "without a seed" in chance([MODELS, cell])


@pytest.mark.parametrize(
    "cell",
    [
        "for Model in (Forest, Trees):\n    Model(n_estimators=10, random_state=0).fit(X, y)",
        "models = {'f': (Forest, {'random_state': SEED})}\nfor Model, given in models.values():\n    Model(**given)",
        "from functools import partial\nmade = partial(Forest, random_state=0)\nm = made()",
        "models = {'f': Forest(random_state=0)}\nfor m in models.values():\n    m.fit(X, y)",
        "def fit(Model, metric):\n    return metric(y, Model(random_state=0).fit(X, y))\nfit(Forest, accuracy)",
        "def named(Model):\n    return Model.__name__\nx = [named(Model) for Model in (Forest, Trees)]",
        "import numpy as np\nmade = np.random.default_rng\nx = made(0).normal() + [f(v) for f in (np.mean, np.std)][0]",
        "ok = isinstance(m, (Forest, Trees))\nprint(ok)",
        "models = {'r': Ridge, 'f': Forest}\nm = models['r']()\nn = models.get('r')()",
        "models = dict(r=Ridge, f=Forest)\nm = models['r']()",
        "models = {}\nmodels['r'] = Ridge\nmodels['f'] = Forest\nm = models['r']()",
        "models = [Ridge, Forest]\nm = models[0]()\nn = (Ridge, Forest)[0]()",
        "from scipy import stats\ntests = {'t': stats.ttest_ind, 'b': stats.bootstrap}\nx = tests['t'](a, b)",
    ],
)
def test_what_gets_a_seed_by_another_name_is_no_chance(cell):
    assert chance([MODELS, cell]) == ""


def test_what_may_be_why_is_said_as_no_more_than_that():
    tree = "from sklearn.tree import DecisionTreeClassifier\nm = DecisionTreeClassifier().fit(X, y)"
    sets = "x = df[df.k.isin({'a', 'b'})]"
    assert hint([tree, sets]) == ": it may rest on what `DecisionTreeClassifier` draws without a seed"
    assert hint([f"{SPLIT}\na, b = train_test_split(df)", sets]).endswith(
        "what `train_test_split` draws without a seed"
    )
    assert hint([sets]) == ": it may rest on the order of a set, which is another one in each process"
    assert hint(["x = df.sum()"]) == ""


@pytest.mark.parametrize(
    ("plot", "said"),
    [
        ("barplot(df, x='a', y='b')", "the error bars of a `barplot` at random: give `seed=`, or `errorbar=None`"),
        ("catplot(df, kind='point')", "the error bars of a `pointplot` at random: give `seed=`, or `errorbar=None`"),
        ("regplot(df, ci=95)", "the error bars of a `regplot` at random: give `seed=`, or `ci=None`"),
        ("catplot(df)", "the points of a `stripplot` at random: give `jitter=False`"),
        ("lineplot(df, seed=0)", ""),
        ("barplot(df, errorbar='sd')", ""),
        ("lmplot(df, ci=None)", ""),
        ("relplot(df)", ""),
        ("stripplot(df, jitter=False)", ""),
    ],
)
def test_what_seaborn_draws_at_random_is_told_with_what_to_do(plot, said):
    found = hint_of_pictures([f"import seaborn as sns\nsns.{plot}"])
    assert said in found and bool(said) is bool(found)
    assert hint_of_pictures([f"df.{plot}"]) == ""
