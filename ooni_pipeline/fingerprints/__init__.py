"""Block pages and vendors as data: the table (``data/*.csv``), its loader and the one matcher.

``load_fingerprints().match_blockpages(entry)`` names the fingerprints that a normalised entry shows,
``match_vendors(entry)`` the middlebox products. Pure: no clock, no database, no configuration.
A new fingerprint is a new row in ``data/blockpages.csv`` with two examples beside the tests.
"""

from ooni_pipeline.fingerprints.like import compile_like
from ooni_pipeline.fingerprints.matcher import FingerprintTable
from ooni_pipeline.fingerprints.rows import Fingerprint, VendorRule
from ooni_pipeline.fingerprints.table import load_fingerprints

__all__ = ["Fingerprint", "FingerprintTable", "VendorRule", "compile_like", "load_fingerprints"]
