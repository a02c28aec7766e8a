"""An entry of any age becomes an entry in the current format.

:data:`LEGACY` and :data:`CURRENT` are the visible lists of steps, in the order in which they run. A step
takes the entry (a dict that it changes) and the :class:`Source` it came from. What is particular to one
family of nettests is one module, named in :data:`FAMILIES`; to teach the pipeline a new nettest, write
that module, add its line there, and add a folder below ``tests/fixtures/reports/``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ooni_pipeline.normalise import base, claims, dns, http, identity, nesting, scapy, times, tls, values
from ooni_pipeline.normalise.source import ReportContext, Source
from ooni_pipeline.report.entry import RawEntry

#: Changes when the same raw report would give another normalised one; then buckets can be redone.
VERSION = "6"

Entry = dict[str, Any]
Step = Callable[[Entry, Source], None]

#: What is particular to a family: canonical test_name -> what is done to an entry that is otherwise done.
#: Nettests that are not here (tcp_connect, bridge_reachability, http_invalid_request_line, the
#: circumvention tools with their logs, …) need nothing but the steps that all have.
FAMILIES: dict[str, tuple[Step, ...]] = {
    "captive_portal": (http.normalise, dns.normalise),
    "chinatrigger": (scapy.normalise,),
    "dns_consistency": (dns.normalise,),
    "dns_injection": (dns.normalise,),
    "dns_spoof": (scapy.normalise,),
    "dom_class_collector": (http.normalise,),
    "domclass_collector": (http.normalise,),
    "http_header_field_manipulation": (http.normalise,),
    "http_host": (http.normalise,),
    "http_keyword_filtering": (http.normalise,),
    "http_requests": (http.normalise,),
    "http_test": (http.normalise,),
    "http_uk_mobile_network_redirect_test": (http.normalise,),
    "http_uk_mobile_networks": (http.normalise,),
    "http_url_list": (http.normalise,),
    "keyword_filtering": (scapy.normalise,),
    "keyword_filtering_detection_based_on_rst_packets": (scapy.normalise,),
    "meek_fronted_requests_test": (http.normalise,),
    "multi_protocol_traceroute": (scapy.normalise,),
    "parasitic_traceroute": (scapy.normalise,),
    "psiphon": (http.normalise,),
    "psiphon_test": (http.normalise,),
    "squid": (http.normalise,),
    "squid_test": (http.normalise,),
    "tls_handshake": (tls.normalise,),
    "tor_http_requests_test": (http.normalise,),
    "web_connectivity": (http.normalise, dns.normalise),
}


def normalise_family(entry: Entry, source: Source) -> None:
    """What is particular to the family of the entry's nettest; nothing for one that has no line above."""
    for step in FAMILIES.get(entry["test_name"], ()):
        step(entry, source)


#: The steps for an entry without data_format_version, or below 0.2.0.
LEGACY: tuple[Step, ...] = (
    values.binary_to_text,
    nesting.lift_report,
    claims.keep_apart,
    base.name_the_nettest,
    base.describe_the_probe,
    times.place_in_time,
    identity.name_the_report,
    identity.identify,
    nesting.flatten_options,
    base.tidy_texts,
    nesting.nest_test_keys,
    normalise_family,
    base.declare_current,
)

#: The steps for an entry of format 0.2.0 or newer: it passes through, what it says stays as it is.
CURRENT: tuple[Step, ...] = (
    values.binary_to_text,
    claims.keep_apart,
    base.name_the_nettest,
    base.describe_the_probe,
    times.complete_times,
    identity.name_the_report,
    identity.identify,
    nesting.nest_where_test_keys_are_missing,
)


def normalise_entry(raw: RawEntry, report: ReportContext) -> Entry:
    """The normalised form of one entry: the 22 base keys in their order, then what newer formats add.

    Pure: the same bytes in the same report give the same entry for ever. The parsed values of ``raw``
    may be changed in place, those of the header are only ever turned from bytes into text. No entry
    that the reader gives makes it raise; a caller that keeps going whatever happens rejects those that
    do (ValueError, TypeError and the like).
    """
    source = Source(raw, report)
    entry = source.merged()
    for step in LEGACY if base.is_legacy(entry) else CURRENT:
        step(entry, source)
    return base.arranged(entry)
