"""What functions and methods do, as far as their names tell. A name that stands nowhere may do anything.

The lists are of the standard library, numpy, pandas and matplotlib, put together from their documentation.
"""

from __future__ import annotations

import sys

_CHANGING = """__delitem__ __iadd__ __setitem__ add append appendleft clear difference_update discard extend fill insert
intersection_update itemset partition pop popitem popleft put remove resize reverse rotate setdefault setflags sort
symmetric_difference_update update"""
CHANGING_METHODS = frozenset(_CHANGING.split())
"""Methods that change what they are called on."""
_CHANGING_FIRST = """copyto delattr fill_diagonal heapify heappop heappush heappushpop heapreplace iadd iand iconcat
imul insort ior isub ixor next place put putmask setattr setitem shuffle"""
CHANGING_FIRST = frozenset(_CHANGING_FIRST.split())
"""Functions that change their first argument."""

_LOOKING = """print display repr str ascii format len type id hash isinstance issubclass callable hasattr dir help
bool int float complex round abs divmod pow ord chr bin oct hex sum any all range bytes input getpass pprint pp sleep"""
_CONTAINERS = """list tuple set frozenset dict sorted bytearray memoryview slice object array deque Counter
OrderedDict ChainMap UserDict namedtuple SimpleNamespace DataFrame Series Index MultiIndex Categorical Timestamp
Timedelta date_range to_datetime to_numeric concat merge Decimal Fraction datetime date timedelta time timezone
ZoneInfo Path PurePath UUID StringIO BytesIO Random default_rng RandomState Enum Template defaultdict partial"""
_SHARING = """min max next getattr iter map filter zip enumerate reversed open reduce accumulate chain islice tee
from_iterable starmap takewhile dropwhile zip_longest product permutations combinations pairwise repeat count cycle
attrgetter itemgetter methodcaller asarray asanyarray gather run wait_for wait as_completed create_task to_thread
read_database read_database_uri super property staticmethod classmethod dataclass field wraps lru_cache cache
cached_property total_ordering contextmanager replace asdict astuple copy deepcopy cast TypeVar"""
_MODELS = "ols wls gls rlm glm logit probit poisson mnlogit mixedlm quantreg"
MODELS = frozenset(_MODELS.split())
"""Functions that make a model of a formula: it keeps the table it is given, what it finds out does not."""
PURE_FUNCTIONS = frozenset(f"{_LOOKING} {_CONTAINERS} {_SHARING} {_MODELS} sjoin sjoin_nearest".split())
"""Functions that leave their arguments as they are (iterators aside, which they may use up)."""

_MODULES = """abc ast base64 bisect calendar cmath collections colorsys copy csv dataclasses datetime decimal difflib
enum fractions functools hashlib heapq hmac html ipaddress itertools json keyword math numbers operator pprint re
statistics string struct textwrap time types typing unicodedata uuid zlib numpy pandas scipy sklearn PIL"""
PURE_MODULES = frozenset(_MODULES.split())
"""Modules whose functions leave their arguments as they are, but for those in `CHANGING_FUNCTIONS` and `WRITING`."""

CHANGING_FUNCTIONS = CHANGING_FIRST | {"exec"}

_PURE_METHODS = """capitalize casefold center count encode endswith expandtabs find format format_map index isalnum
isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower
lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split
splitlines startswith strip swapcase title translate upper zfill decode hex bit_length as_integer_ratio conjugate
is_integer copy keys values items get difference intersection issubset issuperset isdisjoint symmetric_difference union
most_common elements total group groups groupdict start end span match fullmatch search findall finditer sub subn year
month day date time weekday isoweekday isoformat strftime timestamp timetuple astimezone utcoffset total_seconds head
tail describe info sample nlargest nsmallest value_counts unique nunique isna isnull notna notnull duplicated
drop_duplicates dropna fillna ffill bfill interpolate astype convert_dtypes infer_objects select_dtypes agg aggregate
apply applymap map pipe transform groupby resample rolling expanding ewm sum mean median mode std var sem min max prod
cumsum cumprod cummax cummin quantile corr cov corrwith skew kurt kurtosis diff pct_change shift rank round clip abs
add_prefix add_suffix assign merge pivot pivot_table melt stack unstack explode reset_index set_index reindex rename
rename_axis sort_values sort_index query eval filter where mask isin between nth first last idxmax idxmin argmax argmin
argsort cut size to_dict to_list tolist to_numpy to_string to_markdown to_frame to_period to_timestamp to_records
to_json iterrows itertuples xs loc iloc at iat equals all any empty memory_usage dot div mul floordiv mod pow radd rsub
str dt cat len contains extract extractall get_dummies droplevel swaplevel to_flat_index get_group ngroup cumcount
namelist infolist getinfo getnames getmembers to_csv to_html to_latex to_xml get_level_values searchsorted factorize
combine_first compare truncate asof tz_localize tz_convert normalize floor ceil day_name month_name crosstab autocorr
to_series isocalendar getextrema getcolors getbands entropy getpalette reshape ravel flatten transpose squeeze swapaxes
diagonal trace nonzero item tobytes view take repeat choose compress conj ptp sqrt exp log exists is_file is_dir
read_text read_bytes with_suffix with_name relative_to resolve as_posix stat absolute joinpath iterdir glob rglob
samefile expanduser parents getvalue hexdigest digest quantize ln log10 limit_denominator getpixel getbbox getdata
convert crop rotate histogram tell fileno name tree aio predict predict_proba decision_function score group_by
with_columns to_crs sjoin sjoin_nearest union_all iter_rows iter_cols"""
LEARNING = frozenset(["fit", "fit_predict", "fit_transform", "partial_fit"])
"""Methods that change what they are called on, and never what they are given."""
PURE = frozenset(_PURE_METHODS.split()) - CHANGING_METHODS
"""Methods that leave what they are called on, and their arguments, as they are."""

_TABLE_METHODS = """drop set_axis eq ne lt le gt ge asfreq between_time at_time first_valid_index last_valid_index
reorder_levels align reindex_like product subtract multiply divide truediv rmul rdiv rtruediv rfloordiv rmod rpow pad
wrap slice combine case_when rename truncate add_categories as_ordered as_unordered remove_categories
remove_unused_categories rename_categories reorder_categories set_categories"""
TABLE_METHODS = frozenset(_TABLE_METHODS.split())
"""Methods whose result is new where they are called on a table; those of other things may do anything."""
TABLE_PACKAGES = frozenset(["geopandas", "numpy", "pandas", "polars"])
RENAMING = frozenset(["columns", "index", "mapper", "axis", "copy", "level", "errors", "inplace"])
"""What `rename` of a table is given by name."""
_IN_PLACE = """fillna dropna sort_values sort_index reset_index set_index drop_duplicates replace query eval where mask
interpolate ffill bfill clip rename_axis"""
IN_PLACE = frozenset(_IN_PLACE.split()) | TABLE_METHODS
"""Methods of a table that may be told to change it."""
_FIELDS_WORDS = """description rowcount lastrowid arraysize connection row_factory text_factory isolation_level
in_transaction total_changes columns types dtypes shape"""
FIELDS_OF_CONNECTIONS = frozenset(_FIELDS_WORDS.split())
"""Attributes of connections to databases, and of cursors, that are no methods."""
_STYLING = """background_gradient bar format_index hide highlight_between highlight_max highlight_min highlight_null
highlight_quantile relabel_index set_caption set_properties set_table_attributes set_table_styles text_gradient"""
STYLING = frozenset(_STYLING.split())
"""Methods of a styled table, which change it and give it back."""

_FRESH = f"""{_LOOKING} sum mean median std var describe value_counts nunique isna isnull notna notnull corr cov
quantile idxmax idxmin argmax argmin argsort cumsum cumprod to_string to_markdown to_json to_list tolist hexdigest
getvalue read_text read_bytes capitalize casefold center count encode endswith find format index join ljust lower lstrip
partition removeprefix removesuffix rfind rjust rpartition rsplit rstrip splitlines startswith strip swapcase title
translate upper zfill decode match fullmatch search findall sub subn strftime isoformat total_seconds deepcopy sqrt
floor ceil exp log log2 log10 sin cos tan fsum prod gcd lcm comb perm factorial isclose hypot loads dumps Decimal
Fraction Timestamp Timedelta timedelta linspace arange zeros ones full eye date_range read_sql read_sql_query
read_sql_table read_csv read_excel read_json read_parquet tobytes item polyfit polyval dot isin between duplicated
pct_change diff rank stdev pstdev fmean to_crs sjoin sjoin_nearest union_all with_columns agg"""
FRESH = frozenset(_FRESH.split())
"""Functions and methods whose result shares nothing with what they are given, leaving `copy` aside."""

FINDING = frozenset(["find", "findall", "fullmatch", "item", "match", "search"])
"""Of these those that give, of other things than text and tables, a part of what they are called on."""

_COPIES_WORDS = """copy dropna fillna astype assign reset_index sort_values sort_index rename drop_duplicates agg
pivot_table merge melt explode set_index round clip"""
COPIES = frozenset(_COPIES_WORDS.split()) | TABLE_METHODS
"""Methods whose result is a table of its own where they are called on one; of lists and dicts the items are shared."""

_ITERATORS = """iter map filter zip enumerate reversed open reader DictReader finditer iglob rglob glob iterdir
scandir walk iterrows itertuples chain from_iterable islice tee starmap takewhile dropwhile zip_longest product
permutations combinations combinations_with_replacement pairwise repeat count cycle accumulate as_completed imap
imap_unordered iter_rows iter_cols"""
ITERATORS = frozenset(_ITERATORS.split())
"""Functions and methods whose result can be gone through once; `groupby` is one where `itertools` has it."""

_SAVING = """to_csv to_excel to_parquet to_pickle to_feather to_hdf to_sql to_html to_latex to_stata to_netcdf to_file
to_orc to_zarr to_gbq to_postgis to_delta to_disk to_clipboard write_parquet write_csv write_json write_ndjson write_ipc
write_ipc_stream write_excel write_avro write_database write_delta sink_csv sink_parquet sink_ipc sink_ndjson"""
SAVING = frozenset(_SAVING.split()) | {"savefig"}
"""Methods that write a file, if they are given anything, and leave what they are called on as it is."""
TO_PATH = frozenset(["to_csv", "to_json", "to_string", "to_markdown", "to_html", "to_latex", "to_xml"])
"""Methods that write a file if they are given where, and give a text if they are not."""
_WRITING = f"""{_SAVING} savefig write_text write_bytes write writelines mkdir makedirs unlink rename touch rmdir rmtree
symlink_to hardlink_to chmod save savez savez_compressed savetxt dump copyfile copy2 copytree move remove_file
removedirs extractall system popen write_html write_image imsave imwrite writestr Popen check_call check_output call
truncate tofile"""
WRITING = frozenset(_WRITING.split())
"""Functions and methods that may write files, or do something else outside."""
WRITING_MODULES = frozenset(["shutil", "subprocess", "os"])
_READING_OS = "path listdir getcwd environ getenv walk scandir stat cpu_count getpid sep linesep fspath urandom"
READING_OS = frozenset(_READING_OS.split())
"""What of `os` changes nothing."""

_SETTING_WORDS = """set_option reset_option option_context seterr set_printoptions filterwarnings simplefilter chdir
putenv unsetenv setrecursionlimit setlocale getcontext setcontext use basicConfig set_theme set_style set_palette
set_context set_default_dtype set_config register_matplotlib_converters set_start_method setswitchinterval
tzset environ rcParams rc rcdefaults set_loglevel setLevel register install patch settrace setprofile
setdefaulttimeout stack_size enable disable set_backend"""
SETTING = frozenset(_SETTING_WORDS.split())
"""Functions (and attributes) of modules that set what holds for everything after them."""

_EVERY_STATE = frozenset(["random", "numpy.random"])
SEEDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(["seed", "setstate", "set_state", "manual_seed", "manual_seed_all"], frozenset()),
    **dict.fromkeys(["set_seed", "set_random_seed", "seed_everything"], _EVERY_STATE),
}
"""Functions that seed, and the modules whose state that is; none: it is that of what they are called on."""
SEED_THEMSELVES = frozenset(["tensorflow", "tensorflow.random", "tensorflow.compat.v1", "polars"])
"""Modules whose functions of such names seed no others."""

FIGURE_MODULES = frozenset(["matplotlib", "seaborn", "pylab"])
FIGURE_METHODS = frozenset(["plot", "hist", "boxplot"])
"""Methods of tables that draw."""

_SILENT_IMPORTS_WORDS = """numpy pandas scipy sklearn matplotlib seaborn PIL requests bs4 lxml yaml dateutil pytz tqdm
networkx sympy statsmodels plotly httpx pyarrow openpyxl"""
SILENT_IMPORTS = frozenset(_SILENT_IMPORTS_WORDS.split()) | (
    sys.stdlib_module_names - {"this", "antigravity", "__future__", "readline", "rlcompleter"}
)
"""Packages whose import does nothing for code that does not name them."""

_TOO_FREE_WORDS = """exec eval globals locals vars __import__ import_module reload get_ipython currentframe _getframe
gc ctypes builtins __builtins__ __main__ settrace run_cell run_line_magic run_cell_magic atexit compile breakpoint In
Out _ih _oh _dh _i _ii _iii _exit fork weakref"""
TOO_FREE = frozenset(_TOO_FREE_WORDS.split())
"""Names with which code reaches what cannot be followed."""
_FREE_ATTRIBUTES_WORDS = """import_module reload get_ipython currentframe _getframe run_cell run_line_magic
run_cell_magic modules settrace __globals__ __code__ __builtins__ __subclasses__ f_globals f_locals f_back _exit
fork finalize"""
FREE_ATTRIBUTES = frozenset(_FREE_ATTRIBUTES_WORDS.split())
"""Attributes with which it does."""
