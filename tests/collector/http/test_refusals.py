"""What is refused, and how it is told: reference/collector.md, 1.3."""

from __future__ import annotations

import json

import pytest

from tests.collector.http.client import CREATE, OLD, ask, create, update
from tests.parts.collector import Collector

LONG = "a" * 1000
_BAD_VALUES: dict[str, list[object]] = {
    "software_name": ["", "a/b", "a\n", LONG, 5, ["a"], {}, True, "\ud800", "è"],
    "software_version": ["", "1 0", "1/0", LONG, 1.0],
    "test_name": ["", "../x", "a.b", LONG, False],
    "test_version": ["", "a b", {}],
    "probe_asn": ["64496", "AS", "as1", "AS12345678901", "AS1\n", 64496, ["AS1"]],
    "probe_cc": ["it", "ITA", "I", "??", 39, {"a": 1}],
    "data_format_version": ["0 2", "0/2", 0.2],
    "test_start_time": [1470052800, LONG, "\ud800", ["a"]],
    "input_hashes": ["a", [5], ["../x"], ["a" * 200], {}, True, [None]],
    "test_helper": ["a b", "../x", LONG, 5],
}
BAD_FIELDS = [(field, value) for field, values in _BAD_VALUES.items() for value in values]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_a_field_that_is_not_as_it_must_be(shared: Collector, field: str, value: object) -> None:
    reply = ask(shared.url, "POST", "/report", {**CREATE, field: value})
    assert reply.error == (400, f"invalid-request-field {field}")


@pytest.mark.parametrize("path", ["/report", "/measurement"])
@pytest.mark.parametrize("field", sorted(OLD))
@pytest.mark.parametrize("how", ["left out", "null"])
def test_a_field_that_must_be_there(shared: Collector, path: str, field: str, how: str) -> None:
    said = {**CREATE, field: None}
    if how == "left out":
        del said[field]
    assert ask(shared.url, "POST", path, said).error == (400, f"missing-request-field {field}")


@pytest.mark.parametrize("path", ["/report", "/measurement"])
@pytest.mark.parametrize(
    ("version", "status"),
    [("2.0.0", 400), ("2.0.0-rc.1", 400), ("2.0.01", 200), ("2.0.1", 200), ("12.0.0", 200)],
)
def test_the_version_that_leaked_is_refused(shared: Collector, path: str, version: str, status: int) -> None:
    said = {**CREATE, "software_name": "ooniprobe-android", "software_version": version}
    reply = ask(shared.url, "POST", path, said)
    assert reply.status == status
    if status == 400:
        assert reply.error == (400, "invalid-request-field software_version")


@pytest.mark.parametrize("value", ["xml", "JSON", 5, ["json"], True])
def test_an_unknown_format(shared: Collector, value: object) -> None:
    assert ask(shared.url, "POST", "/report", {**CREATE, "format": value}).error == (
        400,
        "invalid-format-field",
    )
    report_id = create(shared.url)
    reply = ask(shared.url, "POST", f"/report/{report_id}", {"content": {}, "format": value})
    assert reply.error == (400, "invalid-format-field")


def test_an_update_in_another_format(shared: Collector) -> None:
    of_json, of_yaml = create(shared.url), create(shared.url, format="yaml")
    assert update(shared.url, of_json, b'"---"', "yaml").error == (400, "invalid-format-field")
    assert update(shared.url, of_yaml, b"{}", "json").error == (400, "invalid-format-field")


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("json", b'"text"'),
        ("json", b"[]"),
        ("json", b"null"),
        ("json", b"5"),
        ("yaml", b"{}"),
        ("yaml", b"null"),
    ],
)
def test_content_of_another_kind(shared: Collector, form: str, content: bytes) -> None:
    report_id = create(shared.url, format=form)
    assert update(shared.url, report_id, content, form).error == (400, "invalid-request-field content")


def test_an_update_without_content(shared: Collector) -> None:
    report_id = create(shared.url)
    reply = ask(shared.url, "POST", f"/report/{report_id}", {"format": "json"})
    assert reply.error == (400, "missing-request-field content")


@pytest.mark.parametrize(
    ("said", "status"),
    [('""', 200), ("null", 200), ('"other"', 400), ("5", 400), ("{}", 400), ("[]", 400), ("false", 400)],
)
def test_an_entry_of_another_report(shared: Collector, said: str, status: int) -> None:
    report_id = create(shared.url)
    reply = update(shared.url, report_id, b'{"report_id": %s}' % said.encode())
    assert reply.status == status
    if status == 400:
        assert reply.error == (400, "invalid-request-field report_id")
    twice = b'{"report_id": "other", "report_id": "%s"}' % report_id.encode()
    assert update(shared.url, report_id, twice).status == 400
    assert update(shared.url, report_id, b'{"report_id": "%s"}' % report_id.encode()).status == 200


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({}, "missing-request-field report_id"),
        ({"report_id": None}, "missing-request-field report_id"),
        ({"report_id": 5}, "invalid-request-field report_id"),
        ({"report_id": "../../x"}, "invalid-request-field report_id"),
        ({"report_id": ""}, "invalid-request-field report_id"),
    ],
)
def test_put_without_a_good_report_id(shared: Collector, said: dict[str, object], error: str) -> None:
    assert ask(shared.url, "PUT", "/report", {"content": {}, **said}).error == (400, error)


@pytest.mark.parametrize(
    "name", ["nothing", "..", "%2e%2e%2fx", "a%00b", "a" * 5000, "%ff", "a b".replace(" ", "%20")]
)
def test_a_report_that_is_not_there(shared: Collector, name: str) -> None:
    for path in (f"/report/{name}", f"/report/{name}/close"):
        reply = ask(shared.url, "POST", path, b'{"content": {}}')
        assert reply.status == 404 and reply.error[1] in ("report-not-found", 404)


NO_JSON = {
    "empty": b"", "a list": b"[]", "a text": b'"a"', "cut": b'{"a": ', "more": b"{} {}",
    "UTF-16": '{"a": 1}'.encode("utf-16"), "brackets": b'{"a":[' + b"[]," * 2_600_000 + b"1]}",
    "no UTF-8": b'{"a": "\xff"}', "deep": b'{"a":' * 100_000, "deeper": b'{"content":' + b"[" * 200_000,
    "a control": b'{"a": "\n"}', "a form": b"a=1&b=2", "a comma": b'{"a": 1,}', "nothing": b"null",
    "a surrogate": b'{"a": "\xed\xa0\x80"}', "zeros": bytes(1000),
}  # fmt: skip


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_a_body_that_is_no_json_object(shared: Collector, body: bytes) -> None:
    report_id = create(shared.url)
    for method, path in (
        ("POST", "/report"),
        ("PUT", "/report"),
        ("POST", f"/report/{report_id}"),
        ("POST", "/measurement"),
    ):
        assert ask(shared.url, method, path, body).error == (400, "invalid-request")


def test_odd_json_is_taken(shared: Collector) -> None:
    """A byte order mark, numbers of any size, fields said twice (the last one counts), depth."""
    body = b'\xef\xbb\xbf{"x": %s, "y": NaN, "software_name": 5, %s' % (
        b"9" * 10_000,
        json.dumps(CREATE).encode()[1:],
    )
    assert ask(shared.url, "POST", "/report", body).status == 200
    report_id = create(shared.url)
    assert update(shared.url, report_id, b'{"a":' + b"[" * 500 + b"]" * 500 + b"}").status == 200


@pytest.mark.parametrize(
    "text", ["[1, 2]", "just text", "{a: ", "!!python/object/apply:os.system [ls]", "\x00", "&a [*a]"]
)
def test_a_header_text_that_is_no_header(shared: Collector, text: str) -> None:
    reply = ask(shared.url, "POST", "/report", {**CREATE, "format": "yaml", "content": text})
    assert reply.error == (400, "invalid-request-field content")


def test_what_the_framework_refuses_has_the_same_form(shared: Collector) -> None:
    assert ask(shared.url, "GET", "/nothing").error == (404, 404)
    assert ask(shared.url, "POST", "/report/").error == (404, 404)
    for method, path in (
        ("GET", "/report"),
        ("DELETE", "/report"),
        ("GET", "/report/x"),
        ("OPTIONS", "/report"),
    ):
        reply = ask(shared.url, method, path)
        assert reply.error == (405, 405) and "POST" in reply.headers["allow"]
