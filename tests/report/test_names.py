from __future__ import annotations

import string
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import MAX_NAME_BYTES, ReportName, format_report_name, parse_report_name

ID = "20160928T062523Z_AS6799_5uajV5x6HsOQIgJJXEjBOuiwl2IqQrwQqTzvHO2oPcQ4RLo1nB"
WHEN = datetime(2016, 9, 28, 6, 28, 4)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(
            f"20160928T062804-http_host-{ID}-AS6799-GR-probe-0.2.0.json",
            ReportName(WHEN, "http_host", ID, "AS6799", "GR", "0.2.0", "json", False),
            id="the seed's form, without Z",
        ),
        pytest.param(
            f"/archive/20160928T062804Z-http_host-{ID}-AS6799-GR-probe-0.2.0.yaml.gz",
            ReportName(WHEN, "http_host", ID, "AS6799", "GR", "0.2.0", "yaml", True),
            id="D",
        ),
        pytest.param(
            f"20160928T062804Z-GR-AS6799-http_host-{ID}-0.2.0-probe.json",
            ReportName(WHEN, "http_host", ID, "AS6799", "GR", "0.2.0", "json", False),
            id="I: seven fields too",
        ),
        pytest.param(
            "20121209T051845Z-MM-AS9988-dns_consistency-no_report_id-0.1.0-probe.yaml",
            ReportName(
                datetime(2012, 12, 9, 5, 18, 45),
                "dns_consistency",
                None,
                "AS9988",
                "MM",
                "0.1.0",
                "yaml",
                False,
            ),
            id="I: no report id",
        ),
        pytest.param(
            "20160128T100000Z-web_connectivity-AS1234-IT-probe-0.2.0.json",
            ReportName(
                datetime(2016, 1, 28, 10),
                "web_connectivity",
                None,
                "AS1234",
                "IT",
                "0.2.0",
                "json",
                False,
            ),
            id="C",
        ),
        pytest.param(
            "20160228T000000Z-tls-handshake-20160228T000000Z_AS1_abc-AS1-IT-probe-0.2.0.yaml",
            ReportName(
                datetime(2016, 2, 28),
                "tls-handshake",
                "20160228T000000Z_AS1_abc",
                "AS1",
                "IT",
                "0.2.0",
                "yaml",
                False,
            ),
            id="D, the nettest with a dash",
        ),
        pytest.param(
            "20160128T000000Z-tls-handshake-AS1-IT-probe-0.2.0.yaml",
            ReportName(datetime(2016, 1, 28), "tls-handshake", None, "AS1", "IT", "0.2.0", "yaml", False),
            id="C, the nettest with a dash",
        ),
        pytest.param(
            "20121209T051845Z-MM-AS9988-tls-handshake-no_report_id-0.1.0-probe.yaml",
            ReportName(
                datetime(2012, 12, 9, 5, 18, 45),
                "tls-handshake",
                None,
                "AS9988",
                "MM",
                "0.1.0",
                "yaml",
                False,
            ),
            id="I, the nettest with a dash",
        ),
        pytest.param(
            "20160228T000000Z-http_host-2016-02-27T235959Z_AS1_abc-AS1-IT-probe-0.2.0.json",
            ReportName(
                datetime(2016, 2, 28),
                "http_host",
                "2016-02-27T235959Z_AS1_abc",
                "AS1",
                "IT",
                "0.2.0",
                "json",
                False,
            ),
            id="D, the report id with a dashed time",
        ),
        pytest.param(
            "reports/NL/http_requests-2014-09-01T101112Z-AS3265-probe.yamloo",
            ReportName(
                datetime(2014, 9, 1, 10, 11, 12),
                "http_requests",
                None,
                "AS3265",
                "NL",
                None,
                "yaml",
                False,
            ),
            id="A",
        ),
        pytest.param(
            "tls-handshake-2014-09-01T101112Z-AS3265-probe.yamloo.gz",
            ReportName(
                datetime(2014, 9, 1, 10, 11, 12),
                "tls-handshake",
                None,
                "AS3265",
                "ZZ",
                None,
                "yaml",
                True,
            ),
            id="A without its directory, with a dash in the nettest",
        ),
        pytest.param(
            "0.0.10/??/http_host-2013-05-05T010203Z-AS0.1.yamloo",
            ReportName(datetime(2013, 5, 5, 1, 2, 3), "http_host", None, "AS0", "ZZ", None, "yaml", False),
            id="E",
        ),
        pytest.param(
            "report-dnst-amper-2013-06-01T000000Z.yamloo",
            ReportName(datetime(2013, 6, 1), "dnst-amper", None, "AS0", "ZZ", None, "yaml", False),
            id="F, early",
        ),
        pytest.param(
            "report-20151101T120000Z-DE-AS3320-http_url_list.njson",
            ReportName(datetime(2015, 11, 1, 12), "http_url_list", None, "AS3320", "DE", None, "json", False),
            id="F, later",
        ),
        pytest.param(
            "20150801T000000Z-ASX-tcp_connect-v1-probe.yaml",
            ReportName(datetime(2015, 8, 1), "tcp_connect", None, "AS0", "ZZ", None, "yaml", False),
            id="H",
        ),
        pytest.param(
            "19700101T000000-ndt-no_report_id-AS0-ZZ-probe-0.1.0.jsonl",
            ReportName(None, "ndt", None, "AS0", "ZZ", "0.1.0", "json", False),
            id="no time",
        ),
    ],
)
def test_every_form_is_read(path: str, expected: ReportName) -> None:
    assert parse_report_name(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "report.json",
        "20160928T062804-http_host-x-AS6799-GR-probe-0.2.0.txt",
        "20160928T062804-http_host-x-AS6799-GR-probe-0.2.0.json.gz.gz",
        "20160928T062804-http_host-x-AS6799-GR-probe-0.2.0.json\n",
        "20160928T062804-http_host-x\0-AS6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host-x\udcff-AS6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host-x\\y-AS6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host--AS6799-GR-probe-0.2.0.json",
        "20161328T062804-http_host-x-AS6799-GR-probe-0.2.0.json",
        "00000101T000000-http_host-x-AS6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host-x-y-AS6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host-x-6799-GR-probe-0.2.0.json",
        "20160928T062804-http_host-x-AS6799-GRC-probe-0.2.0.json",
        "20160928T062804-http_host-x-AS6799-GR-probe-../../x.json",
        "../20160928T062804-http_host-x-AS6799-GR-probe-0.2.0.json",
        "a/../20160928T062804-http_host-x-AS6799-GR-probe-0.2.0.json",
        "http_requests-2014-09-01T101112Z-AS3265-backend.yamloo",
        "20150801T000000Z-ASX-tcp_connect-v1-backend.yaml",
        f"20160928T062804-{'x' * 255}-x-AS6799-GR-probe-0.2.0.json",
    ],
)
def test_other_names_are_rejected_without_quoting_them(path: str) -> None:
    with pytest.raises(BadReport) as caught:
        parse_report_name(path)
    assert caught.value.reason is RejectReason.NAME_NOT_UNDERSTOOD
    assert caught.value.detail
    assert "http_host" not in str(caught.value)


def test_the_seeds_form_is_written() -> None:
    name = ReportName(WHEN, "http_host", ID, "AS6799", "GR", "0.2.0", "yaml", True)
    assert format_report_name(name) == f"20160928T062804-http_host-{ID}-AS6799-GR-probe-0.2.0.yaml"
    assert format_report_name(name, "json") == f"20160928T062804-http_host-{ID}-AS6799-GR-probe-0.2.0.json"


def test_what_is_missing_has_a_word() -> None:
    name = ReportName(None, "", None, "", "", None, "json", False)
    assert format_report_name(name) == "19700101T000000-invalid-no_report_id-AS0-ZZ-probe-0.1.0.json"


def test_no_field_breaks_out_of_its_place() -> None:
    name = ReportName(WHEN, "../a-b\0é", "2013-06-01/x\n", "AS1-IT", "I/", "0.1-0", "json", False)
    assert format_report_name(name) == "20160928T062804-.._a_b__-20130601_x_-AS0-ZZ-probe-0.1.0.json"


def test_only_two_endings_are_written() -> None:
    with pytest.raises(ValueError, match="json or yaml"):
        format_report_name(ReportName(None, "", None, "", "", None, "json", False), "exe")


FIELD = st.text(string.ascii_letters + string.digits + "_.", min_size=1, max_size=64)
NAMES = st.builds(
    ReportName,
    start_time=st.none()
    | st.datetimes(datetime(1000, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    test_name=FIELD,
    report_id=st.none() | FIELD.filter(lambda text: text != "no_report_id"),
    probe_asn=st.integers(0, 2**32 - 1).map("AS{}".format),
    probe_cc=st.text(string.ascii_uppercase, min_size=2, max_size=2),
    data_format_version=st.sampled_from(["0.1.0", "0.2.0", "0.3.4"]),
    extension=st.sampled_from(["json", "yaml"]),
    compressed=st.just(False),
)


@given(NAMES)
def test_round_trip(name: ReportName) -> None:
    epoch = datetime(1970, 1, 1)
    expected = name if name.start_time != epoch else ReportName(**{**vars(name), "start_time": None})
    assert parse_report_name(format_report_name(name)) == expected


@given(
    st.builds(
        ReportName,
        st.none(),
        st.text(),
        st.text(),
        st.text(),
        st.text(),
        st.text(),
        st.just("json"),
        st.just(False),
    )
)
def test_what_is_written_can_be_read_whatever_the_fields(name: ReportName) -> None:
    written = format_report_name(name)
    assert len(written.encode()) <= MAX_NAME_BYTES
    assert "/" not in written
    assert format_report_name(parse_report_name(written)) == written


@given(st.text() | st.from_regex(r"(report-)?[A-Z0-9T?_-]{0,60}probe-0\.2\.0\.json", fullmatch=True))
def test_a_name_is_read_or_rejected(path: str) -> None:
    try:
        parse_report_name(path)
    except BadReport as rejected:
        assert rejected.reason is RejectReason.NAME_NOT_UNDERSTOOD


@pytest.mark.parametrize("part", ["-", "a-", "2014-", "2014-09-01T101112Z-", "AS1-", "probe-", "report-"])
def test_names_that_almost_match_cost_no_time(part: str) -> None:
    begin = time.perf_counter()
    for ending in (".json", "probe.json", "-probe-0.2.0.json", "-AS1.yaml"):
        with pytest.raises(BadReport):
            parse_report_name((part * 250)[: 250 - len(ending)] + ending)
    assert time.perf_counter() - begin < 0.1
