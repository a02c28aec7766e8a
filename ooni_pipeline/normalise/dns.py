"""The DNS family (df-002-dnst): queries, answers and verdicts of every probe since 2012 in today's shape.

Today's shape of ``test_keys.queries``: a list of ``{hostname, query_type, resolver_hostname,
resolver_port, failure, answers: [{answer_type, ttl, …}]}``. Old probes wrote what Twisted prints of its
records: ``<RR name=a.example type=A class=IN ttl=91s auth=False>`` beside ``<A address=192.0.2.1 ttl=91>``.
"""

from __future__ import annotations

from typing import Any

from ooni_pipeline.normalise.records import answer_of, hostname_of, says_no_more
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.normalise.values import bounded


def normalise(entry: dict[str, Any], source: Source) -> None:
    """Bring a legacy entry of this family into today's shape."""
    test_keys = entry["test_keys"]
    queries = test_keys.get("queries")
    if not isinstance(queries, list):
        queries = [] if queries is None else [queries]
    test_keys["queries"] = [_query(query) for query in bounded(queries)]
    _verdicts(test_keys, always=entry.get("test_name") == "dns_consistency")


def _verdicts(test_keys: dict[str, Any], always: bool) -> None:
    """``tampering`` told by resolver what came of it: True inconsistent, False or ``reverse_match`` fine,
    anything else the reason why there was no answer to compare."""
    tampering = test_keys.get("tampering")
    told: dict[str, Any] = {"successful": [], "inconsistent": [], "failed": []}
    if isinstance(tampering, dict):
        for resolver, verdict in tampering.items():
            if verdict is False or verdict == "reverse_match":  # the same, or right by its reverse look-up
                told["successful"].append(resolver)
            else:
                told["inconsistent" if verdict is True else "failed"].append(resolver)
        if test_keys.get("errors") is None:
            test_keys["errors"] = test_keys.pop("tampering")
    elif always:
        failures = test_keys.get("failures")  # what newer probes call it themselves
        told |= {"failed": list(failures) if isinstance(failures, list) else [], "errors": {}}
    else:
        return
    for key, resolvers in told.items():
        if test_keys.get(key) is None:  # what the probe itself said stays
            test_keys[key] = resolvers


def _query(query: Any) -> Any:
    if not isinstance(query, dict):
        return query
    query = dict(query)
    _ask(query)
    answers = query.get("answers")
    answers = answers if isinstance(answers, list) else [] if answers is None else [answers]
    query["answers"] = [answer_of(answer, query["hostname"]) for answer in answers]
    if not query["failure"] and not query["answers"]:
        query["failure"] = "no_answer"
    if _all_among(query.get("addrs"), query["answers"]):
        del query["addrs"]  # they stand in the answers
    return query


def _ask(query: dict[str, Any]) -> None:
    """What was asked, and of whom. A ``query`` or ``resolver`` that says more than today's keys stays."""
    printed, resolver = query.get("query"), query.get("resolver")
    if query.get("hostname") is None and isinstance(printed, str):
        query["hostname"] = hostname_of(printed)
    if isinstance(printed, str) and says_no_more(printed, query.get("hostname"), query.get("query_type")):
        del query["query"]
    unsaid = query.get("resolver_hostname") is None and query.get("resolver_port") is None
    if unsaid and isinstance(resolver, list) and len(resolver) == 2:
        query["resolver_hostname"], query["resolver_port"] = query.pop("resolver")
    for key in ("hostname", "query_type", "resolver_hostname", "resolver_port", "failure"):
        query.setdefault(key, None)


def _all_among(addresses: Any, answers: list[Any]) -> bool:
    """Whether a list of addresses says nothing that the answers do not say."""
    if not isinstance(addresses, list):
        return False
    values = [value for answer in answers if isinstance(answer, dict) for value in answer.values()]
    known = {value for value in values if isinstance(value, str)}
    return all(isinstance(address, str) and address in known for address in addresses)
