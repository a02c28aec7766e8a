"""Block pages and vendors as data: the table (``data/*.csv``), its loader and the one matcher.

``load_fingerprints().match(entry)`` names the fingerprints and the middlebox products that a normalised entry
shows. Lists in the format of the public ones may be added. Pure: no clock, no database, no configuration.
A new fingerprint is a new row in ``data/blockpages.csv`` with two examples beside the tests.
"""

from ooni_pipeline.fingerprints.like import compile_like
from ooni_pipeline.fingerprints.matcher import BLOCKPAGE_TESTS, FingerprintTable
from ooni_pipeline.fingerprints.rows import Fingerprint, Rule, VendorRule
from ooni_pipeline.fingerprints.table import load_fingerprints

__all__ = [
    "BLOCKPAGE_TESTS",
    "Fingerprint",
    "FingerprintTable",
    "Rule",
    "VendorRule",
    "compile_like",
    "load_fingerprints",
]
