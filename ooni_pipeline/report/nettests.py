"""The names of the nettests: what probes of all ages called them, and what we call them."""

from __future__ import annotations

import re

#: What stands for a name that is missing or says nothing.
INVALID = "invalid"
#: A canonical name has at most this many characters.
MAX_NAME = 64

#: Raw name -> canonical name. Keys are the names as found, and names in lower case joined by ``_``.
#: Source: the 2016 normaliser's map, and the names that it did not know (reference/normalise.md, 3.3).
CANONICAL_NAMES = {
    "HTTP Host": "http_host",
    "http_host_test": "http_host",
    "HTTP Requests Test": "http_requests",
    "http_requests_test": "http_requests",
    "bridgereachability": "bridge_reachability",
    "bridge_reachability_test": "bridge_reachability",
    "TCP Connect": "tcp_connect",
    "tcp_connect_test": "tcp_connect",
    "DNS tamper": "dns_consistency",
    "dns_tamper": "dns_consistency",
    "dnstamper": "dns_consistency",
    "dns_consistency_test": "dns_consistency",
    "HTTP Invalid Request Line": "http_invalid_request_line",
    "HTTP Header Field Manipulation": "http_header_field_manipulation",
    "Multi Protocol Traceroute Test": "multi_protocol_traceroute",
    "multi_protocol_traceroute_test": "multi_protocol_traceroute",
    "traceroute": "multi_protocol_traceroute",
    "parasitic_traceroute_test": "parasitic_traceroute",
    "parasitic_tcp_traceroute_test": "parasitic_traceroute",
    "tls-handshake": "tls_handshake",
    "captivep": "captive_portal",
    "captiveportal": "captive_portal",
    "HTTPFilteringBypass": "http_filtering_bypass",
    "httpfilteringbypass": "http_filtering_bypass",
    "HTTPTrix": "http_trix",
    "httptrix": "http_trix",
    "netalyzrwrapper": "netalyzr_wrapper",
    # The spoken forms of names that keep their "_test".
    "meek_fronted_requests": "meek_fronted_requests_test",
    "lantern_circumvention_tool": "lantern_circumvention_tool_test",
    # Very old entries name the Python method that ran.
    "test_get_random_capitalization": "http_header_field_manipulation",
    "test_put_random_capitalization": "http_header_field_manipulation",
    "test_post_random_capitalization": "http_header_field_manipulation",
    "test_random_big_request_method": "http_invalid_request_line",
    "test_random_invalid_field_count": "http_invalid_request_line",
    # Names that do not say which test it was.
    "summary": INVALID,
    "test_get": INVALID,
    "test_post": INVALID,
    "test_put": INVALID,
    "test_send_host_header": INVALID,
}

#: Raw names of which the canonical one tells all: only case and what joins the words are another.
_PLAIN = re.compile(rf"[A-Za-z0-9_ -]{{1,{MAX_NAME}}}")
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")
#: Longer names are cut before they are looked at: a probe may send megabytes.
_LONGEST_LOOK = 256


def canonical_test_name(raw: object) -> str:
    """The canonical name of the nettest that a probe calls ``raw``.

    The map is tried on the name as it is, then on its lower-cased form with every run of other
    characters turned into one ``_``; a name in neither is that form. The result has only a-z, 0-9 and
    ``_``, and 1 to 64 characters; anything but a string, or a string without letters and digits, gives
    ``invalid``.
    """
    if not isinstance(raw, str):
        return INVALID
    known = CANONICAL_NAMES.get(raw)
    if known is not None:
        return known
    slug = _NOT_IN_A_SLUG.sub("_", raw[:_LONGEST_LOOK].lower()).strip("_")[:MAX_NAME].strip("_")
    return CANONICAL_NAMES.get(slug, slug) or INVALID


def tells_all(raw: object) -> bool:
    """Whether the canonical name tells what ``raw`` does; not ``invalid``, not when cut."""
    return isinstance(raw, str) and bool(_PLAIN.fullmatch(raw)) and canonical_test_name(raw) != INVALID
