"""Raw reports with one canary in each place that the rules name, valid and broken."""

from __future__ import annotations

import json

from tests.leaks import canary_addresses, canary_bridges, canary_fields
from tests.leaks.canaries import BASE, Planted, cut_short, cut_short_yaml, in_base64, with_response

#: A file that has no name of a report.
NO_NAME = "planted report.json"


def canary_reports() -> Planted:
    """All of them."""
    planted = Planted()
    for plant in (
        canary_bridges.plant,
        canary_addresses.plant,
        canary_fields.plant,
        _rejected,
        _held,
        _quoted,
    ):
        plant(planted)
    return planted


def _rejected(planted: Planted) -> None:
    for name in ("json", "yaml"):
        own, text = (
            planted.address(f"in a report rejected whole, {name}"),
            planted.text(f"in a report rejected whole, {name}"),
        )
        bridge = planted.bridge(f"in a report rejected whole, {name}", known=True)
        said = f"{own} {text} {bridge.place} {bridge.fingerprint}"
        if name == "json":
            entry = {"probe_ip": own, "input": said, "probe_city": text}
            planted.add_file(NO_NAME, json.dumps(entry))
            planted.add("web_connectivity", [], f"not json {said}")
            continue
        for number, header in enumerate(
            (f"probe_ip: [{said}", f"'{said}", f"!!python/object/apply:os.system ['{said}']", f"- {said}")
        ):
            content = f"---\n{header}\n...\n---\n{{input: '{said}', probe_city: {text}}}\n...\n"
            name = f"20160801T12000{number}Z-http_requests-planted-AS1-GR-probe-0.2.0.yaml"
            planted.add_file(name, content)


def _held(planted: Planted) -> None:
    """Questions: would a person ask with these whether something is a bridge, nothing at all comes out."""
    bridges = [planted.bridge("known bridge of a question", known=True, version=one) for one in (4, 6)]
    for bridge in bridges:
        for where, entry in (
            ("page", with_response(body=f"is it {bridge.place}?")),
            ("key", {bridge.address: True}),
            ("answer", {"queries": [{"answers": [{"ipv4": bridge.address}]}]}),
            ("code", {"failure": in_base64(f" {bridge.place} ".encode())["data"]}),
        ):
            text = planted.text(f"in a report that asks, in a {where}")
            planted.add("web_connectivity", [{"test_keys": {"requests": [entry], "x": text, **entry}}])
        text = planted.text("in a report that asks, beside hundreds of addresses")
        others = [
            {"input": f"198.51.{number // 200}.{number % 200 + 1}:443", "test_keys": {"beside": text}}
            for number in range(250)
        ]  # else the second report's would be duplicates
        planted.add("tcp_connect", [{"test_keys": {"x": text}}, *others, {"input": bridge.place}])
        text = planted.text("in a report that asks by its name")
        name = f"20160801T120000Z-ndt-{bridge.fingerprint}-AS1-GR-probe-0.2.0.json"
        planted.add_file(name, json.dumps({"test_name": "ndt", **BASE, "test_keys": {"x": text}}) + "\n")


def _quoted(planted: Planted) -> None:
    """What may be published, and still must not be in any log: entries that every stage stumbles over."""
    for number, entry in enumerate(
        (
            {"input": "{}", "test_keys": {"body": "{}"}},
            {"input": "{}" * 400, "test_runtime": "{}", "test_start_time": "{}"},
            {"probe_cc": "{}", "probe_asn": "{}", "test_version": ["{}"], "{}": "\0{}\ud800"},
            {"measurement_start_time": {"{}": "{}"}, "test_helpers": "{}", "report_id": ["{}"]},
            {"test_keys": {"requests": "{}", "queries": [["{}"]], "tampering": "{}", "answers": {"{}": 1}}},
        )
    ):
        text = planted.quote(f"entry {number}")
        filled = json.loads(json.dumps(entry).replace("{}", text))
        planted.add(
            "web_connectivity",
            [filled],
            *cut_short("web_connectivity", text),
            f'{{"x": NaN, "{text}": 1e999}}',
        )
        planted.add_yaml("http_requests", {"test_version": text}, [filled], *cut_short_yaml(text))
