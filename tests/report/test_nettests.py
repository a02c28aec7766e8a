from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.report.nettests import CANONICAL_NAMES, canonical_test_name, tells_all


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("http_host", "http_host"),
        ("HTTP Host", "http_host"),
        ("http_requests_test", "http_requests"),
        ("HTTP Requests Test", "http_requests"),
        ("bridgereachability", "bridge_reachability"),
        ("Bridge Reachability", "bridge_reachability"),
        ("TCP Connect", "tcp_connect"),
        ("DNS tamper", "dns_consistency"),
        ("dns consistency", "dns_consistency"),
        ("HTTP Invalid Request Line", "http_invalid_request_line"),
        ("HTTP Header Field Manipulation", "http_header_field_manipulation"),
        ("Multi Protocol Traceroute Test", "multi_protocol_traceroute"),
        ("traceroute", "multi_protocol_traceroute"),
        ("parasitic_tcp_traceroute_test", "parasitic_traceroute"),
        ("tls-handshake", "tls_handshake"),
        ("captivep", "captive_portal"),
        ("HTTPFilteringBypass", "http_filtering_bypass"),
        ("HTTPTrix", "http_trix"),
        ("netalyzrwrapper", "netalyzr_wrapper"),
        ("meek fronted requests test", "meek_fronted_requests_test"),
        ("lantern_circumvention_tool_test", "lantern_circumvention_tool_test"),
        ("psiphon_test", "psiphon_test"),
        ("this_test_is_nameless", "this_test_is_nameless"),
        ("test_post_random_capitalization", "http_header_field_manipulation"),
        ("test_random_invalid_field_count", "http_invalid_request_line"),
        ("summary", "invalid"),
        ("test_send_host_header", "invalid"),
        ("web_connectivity", "web_connectivity"),
        ("DNS Spoof", "dns_spoof"),
        ("../../etc/passwd", "etc_passwd"),
        ("Ärger\0mit  Namen", "rger_mit_namen"),
        ("x" * 10_000_000, "x" * 64),
        ("???", "invalid"),
        ("", "invalid"),
        (None, "invalid"),
        (12, "invalid"),
        (["http_host"], "invalid"),
    ],
)
def test_canonical_name(raw: object, canonical: str) -> None:
    assert canonical_test_name(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "tells"),
    [
        ("HTTP Requests Test", True), ("tls-handshake", True), ("web_connectivity", True),
        ("summary", False), ("../../x", False), ("тест", False), ("x" * 65, False), ("", False),
        (None, False), (5, False), (["a"], False),
    ],
)  # fmt: skip
def test_where_the_canonical_name_tells_all(raw: object, tells: bool) -> None:
    assert tells_all(raw) is tells


@given(st.text() | st.sampled_from(sorted(CANONICAL_NAMES)))
def test_a_canonical_name_is_a_slug_and_stays(raw: str) -> None:
    canonical = canonical_test_name(raw)
    assert re.fullmatch("[a-z0-9_]{1,64}", canonical)
    assert canonical_test_name(canonical) == canonical
