"""How much one address and all together may ask for, and who counts as one."""

from __future__ import annotations

import ipaddress

import pytest

from ooni_pipeline.collector.http import limits
from ooni_pipeline.collector.http.answers import RefusedError
from ooni_pipeline.collector.http.limits import Limits
from ooni_pipeline.collector.http.peers import Peers
from tests.collector.http.client import CREATE, ask
from tests.parts.collector import StartCollector

PROXIES = tuple(map(ipaddress.ip_network, ("127.0.0.1", "::1", "10.1.0.0/16")))
PEERS = Peers(PROXIES, b"salt")


def key(peer: str | None, *forwarded: bytes) -> bytes | None:
    return PEERS.key(peer, [(b"host", b"x"), *((b"x-forwarded-for", line) for line in forwarded)])


def test_an_address_is_a_digest_that_only_this_process_can_make() -> None:
    one = key("192.0.2.1")
    assert one is not None and len(one) == 16 and b"192" not in one
    assert one == key("192.0.2.1") != key("192.0.2.2")
    assert Peers(PROXIES, b"other salt").key("192.0.2.1", []) != one


def test_a_peer_of_this_machine_without_a_word_shares_the_limits_of_all() -> None:
    assert key("127.0.0.1") is key("::1") is key("10.1.2.3") is key(None) is None
    assert Peers((), b"salt").key("127.0.0.1", [(b"x-forwarded-for", b"192.0.2.1")]) is None


def test_what_a_proxy_says_is_believed_and_nobody_else() -> None:
    client = key("192.0.2.1")
    for said in (
        b"192.0.2.1", b" 192.0.2.1 ", b"192.0.2.1:5555", b"8.8.8.8, 192.0.2.1", b"junk,192.0.2.1",
        b"192.0.2.1, 10.1.0.9", b"8.8.8.8,192.0.2.1,10.1.0.9, 127.0.0.1", b"::ffff:192.0.2.1",
        b"[::ffff:192.0.2.1]:5",
    ):  # fmt: skip
        assert key("127.0.0.1", said) == client, said
    assert key("127.0.0.1", b"8.8.8.8", b"192.0.2.1") == client
    assert key("::ffff:127.0.0.1", b"192.0.2.1") == client
    assert key("192.0.2.1", b"8.8.8.8") == client  # no proxy: it may say what it likes
    assert key("10.2.0.1", b"8.8.8.8") == key("10.2.0.1")
    for said in (b"junk", b"unknown, 10.1.0.9", b"192.0.2.1, junk", b"127.0.0.1", b"", b"\xff" * 9000):
        assert key("127.0.0.1", said) is None, said


def test_ipv6_counts_by_its_64_bits() -> None:
    assert key("2001:db8:0:1::1") == key("2001:db8:0:1:ffff::2") != key("2001:db8:0:2::1")
    assert key("127.0.0.1", b"[2001:db8:0:1::9]:80") == key("2001:db8:0:1::1") is not None


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(
    clock: Clock, rate: float = 1000, mine: float = 2, reports: int = 3, open_: set[str] | None = None
) -> Limits:
    opened = open_ if open_ is not None else set()
    return Limits(
        rate=rate,
        rate_per_address=mine,
        reports_per_address=reports,
        steady=clock,
        is_open=opened.__contains__,
    )


def refusal_of(allowed: Limits, one: bytes | None) -> RefusedError | None:
    try:
        allowed.request(one)
    except RefusedError as error:
        return error
    return None


def test_ten_seconds_worth_at_once_then_the_rate() -> None:
    clock = Clock()
    allowed = made(clock)
    assert [refusal_of(allowed, b"a") for _ in range(20)] == [None] * 20
    refused = refusal_of(allowed, b"a")
    assert refused is not None and refused.status == 429 and refused.headers["Retry-After"] == "1"
    assert refusal_of(allowed, b"b") is None, "another address"
    assert refusal_of(allowed, None) is None, "nobody in particular"
    clock.now += 1
    assert [refusal_of(allowed, b"a") is None for _ in range(4)] == [True, True, False, False]
    clock.now += 1000
    assert sum(refusal_of(allowed, b"a") is None for _ in range(50)) == 20


def test_what_an_address_asks_for_too_often_is_not_taken_from_others() -> None:
    allowed = made(Clock(), rate=4, mine=2)
    for _ in range(100):
        refusal_of(allowed, b"a")
    assert [refusal_of(allowed, b"b") for _ in range(20)] == [None] * 20
    assert refusal_of(allowed, None) is not None, "40 were all that there is"


def test_memory_is_bounded_and_idle_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ADDRESSES", 100)
    clock = Clock()
    allowed = made(clock, rate=1e9)
    for number in range(1000):
        refusal_of(allowed, b"%d" % number)
    assert allowed.addresses == 100
    for _ in range(25):
        refusal_of(allowed, b"999")
    for number in range(150):  # those who were silent for longest go, not this one
        refusal_of(allowed, b"fresh %d" % number)
        assert refusal_of(allowed, b"999") is not None
    clock.now += 9
    allowed.forget()
    assert refusal_of(allowed, b"999") is None
    clock.now += 11
    allowed.forget()
    assert allowed.addresses == 0


def test_open_reports_of_an_address() -> None:
    clock, opened = Clock(), {"1", "2", "3"}
    allowed = made(clock, open_=opened)
    for report in ("1", "2", "3"):
        with allowed.opening(b"a"):
            allowed.opened(b"a", report)
            allowed.opened(None, report)
    with pytest.raises(RefusedError) as refused, allowed.opening(b"a"):
        pass
    assert refused.value.status == 429 and refused.value.headers["Retry-After"]
    with allowed.opening(b"b"), allowed.opening(None):
        pass
    opened.remove("2")  # closed, or archived because it was silent
    with allowed.opening(b"a"), pytest.raises(RefusedError), allowed.opening(b"a"):
        pass
    with allowed.opening(b"a"):  # the one before came to nothing
        pass
    opened.clear()
    allowed.forget()
    assert allowed.addresses == 0


def test_over_the_wire(start_collector: StartCollector) -> None:
    collector = start_collector(requests_per_second_per_address=1, open_reports_per_address=2, open_reports=5)
    here = {"X-Forwarded-For": "192.0.2.1"}
    assert ask(collector.url, "POST", "/report", CREATE, here).status == 200
    assert ask(collector.url, "POST", "/report", CREATE, here).status == 200
    assert ask(collector.url, "POST", "/report", CREATE, here).error == (429, "too-many-open-reports")
    replies = [ask(collector.url, "POST", "/report", b"", here) for _ in range(12)]
    assert replies[0].status == 400 and replies[-1].error == (429, "too-many-requests")
    assert int(replies[-1].headers["retry-after"]) >= 1
    there = [ask(collector.url, "POST", "/report", CREATE).status for _ in range(20)]
    assert there == [200] * 3 + [503] * 17, "peers of this machine have the limits of all alone"


def test_the_limits_of_all_over_the_wire(start_collector: StartCollector) -> None:
    collector = start_collector(requests_per_second=1)
    statuses = [ask(collector.url, "POST", "/report", b"").status for _ in range(15)]
    assert statuses[:10] == [400] * 10 and 429 in statuses[10:]
