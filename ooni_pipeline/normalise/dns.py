"""The DNS family (df-002-dnst): queries, answers and verdicts of every probe since 2012 in today's shape.

Today's shape of ``test_keys.queries``: a list of ``{hostname, query_type, resolver_hostname,
resolver_port, failure, answers: [{answer_type, ttl, …}]}``. Old probes wrote what Twisted prints of its
records: ``<RR name=a.example type=A class=IN ttl=91s auth=False>`` beside ``<A address=192.0.2.1 ttl=91>``.
"""

from __future__ import annotations

from typing import Any

from ooni_pipeline.normalise.records import answer_of, hostname_of
from ooni_pipeline.normalise.source import Source


def normalise(entry: dict[str, Any], source: Source) -> None:
    """Bring a legacy entry of this family into today's shape."""
    test_keys = entry["test_keys"]
    queries = test_keys.get("queries")
    if not isinstance(queries, list):
        queries = [] if queries is None else [queries]
    test_keys["queries"] = [_query(query) for query in queries]
    _verdicts(test_keys, always=entry.get("test_name") == "dns_consistency")


def _verdicts(test_keys: dict[str, Any], always: bool) -> None:
    """``tampering`` told by resolver what came of it: True inconsistent, False or ``reverse_match`` fine,
    anything else the reason why there was no answer to compare."""
    tampering = test_keys.get("tampering")
    if isinstance(tampering, dict):
        told: dict[str, list[str]] = {"successful": [], "inconsistent": [], "failed": []}
        for resolver, verdict in tampering.items():
            if verdict is False or verdict == "reverse_match":  # the same, or right by its reverse look-up
                told["successful"].append(resolver)
            else:
                told["inconsistent" if verdict is True else "failed"].append(resolver)
        test_keys.setdefault("errors", test_keys.pop("tampering"))
    elif always:
        told = {"successful": [], "inconsistent": [], "failed": test_keys.get("failures") or []}
        test_keys.setdefault("errors", {})
    else:
        return
    for key, resolvers in told.items():
        test_keys.setdefault(key, resolvers)  # what the probe itself said stays


def _query(query: Any) -> Any:
    if not isinstance(query, dict):
        return query
    query = dict(query)
    answers = query.get("answers")
    answers = answers if isinstance(answers, list) else [] if answers is None else [answers]
    query["answers"] = [answer_of(answer) for answer in answers]
    if isinstance(query.get("query"), str):
        query.setdefault("hostname", hostname_of(query.pop("query")))
    resolver = query.get("resolver")
    if isinstance(resolver, list) and len(resolver) == 2:
        del query["resolver"]
        query.setdefault("resolver_hostname", resolver[0])
        query.setdefault("resolver_port", resolver[1])
    for key in ("hostname", "query_type", "resolver_hostname", "resolver_port", "failure"):
        query.setdefault(key, None)
    if not query["failure"] and not query["answers"]:
        query["failure"] = "no_answer"
    if _all_among(query.get("addrs"), query["answers"]):
        del query["addrs"]  # they stand in the answers
    return query


def _all_among(addresses: Any, answers: list[Any]) -> bool:
    """Whether a list of addresses says nothing that the answers do not say."""
    if not isinstance(addresses, list):
        return False
    known = [value for answer in answers if isinstance(answer, dict) for value in answer.values()]
    return all(isinstance(address, str) and address in known for address in addresses)
