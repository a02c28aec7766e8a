"""How much one address, and all together, may ask for. In bounded memory, by keys that tell nobody."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ooni_pipeline.collector.http.answers import RETRY_AFTER, RefusedError

#: So many seconds' worth of requests may come at once.
_BURST_SECONDS = 10
#: So many addresses are known at a time: 20 MB. The one that was silent for longest is forgotten first.
MOST_ADDRESSES = 100_000


class Bucket:
    """A token bucket: ``rate`` requests a second for long, ten times as many at once."""

    __slots__ = ("tokens", "when")

    def __init__(self, rate: float, when: float) -> None:
        self.tokens = rate * _BURST_SECONDS
        self.when = when

    def take(self, rate: float, now: float) -> float:
        """0 where one more is within the rate; else the seconds until it is."""
        tokens = min(rate * _BURST_SECONDS, self.tokens + (now - self.when) * rate)
        self.when = now
        if tokens < 1:
            self.tokens = tokens
            return (1 - tokens) / rate
        self.tokens = tokens - 1
        return 0


class Limits:
    """The rates of requests and the open reports of one service.

    ``steady`` is a clock that never jumps; ``is_open`` says whether a report is still open.
    """

    def __init__(
        self,
        *,
        rate: float,
        rate_per_address: float,
        reports_per_address: int,
        steady: Callable[[], float],
        is_open: Callable[[str], bool],
    ) -> None:
        self._rate = rate
        self._rate_per_address = rate_per_address
        self._reports_per_address = reports_per_address
        self._steady = steady
        self._is_open = is_open
        self._all = Bucket(rate, steady())
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()
        self._reports: dict[bytes, set[str]] = {}
        #: Reports that are being made, which are not open yet.
        self._opening: Counter[bytes] = Counter()

    def request(self, key: bytes | None) -> None:
        """Count a request of an address (None: of nobody in particular). Raises RefusedError 429."""
        now = self._steady()
        # The address first: what one of them asks for too often is not taken from the others.
        if key is not None:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = Bucket(self._rate_per_address, now)
                if len(self._buckets) > MOST_ADDRESSES:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(key)
            _refuse(bucket.take(self._rate_per_address, now))
        _refuse(self._all.take(self._rate, now))

    @contextmanager
    def opening(self, key: bytes | None) -> Iterator[None]:
        """While an address opens one more report, which :meth:`opened` tells in the end. Raises RefusedError
        429 where it has enough, with those that it opens at the same time."""
        if key is None:
            yield
            return
        if self._of(key) >= self._reports_per_address:
            still = {report for report in self._reports.get(key, ()) if self._is_open(report)}
            self._reports[key] = still
            if self._of(key) >= self._reports_per_address:
                raise RefusedError(429, "too-many-open-reports", retry_after=RETRY_AFTER)
        self._opening[key] += 1
        try:
            yield
        finally:
            self._opening[key] -= 1
            if not self._opening[key]:
                del self._opening[key]

    def _of(self, key: bytes) -> int:
        return len(self._reports.get(key, ())) + self._opening[key]

    def opened(self, key: bytes | None, report_id: str) -> None:
        """An address has opened a report."""
        if key is not None:
            self._reports.setdefault(key, set()).add(report_id)

    def forget(self) -> None:
        """Drop every address that has been silent for as long as it matters. To be called now and then."""
        horizon = self._steady() - _BURST_SECONDS
        while self._buckets and next(iter(self._buckets.values())).when < horizon:
            self._buckets.popitem(last=False)
        for key in list(self._reports):
            still = {report for report in self._reports[key] if self._is_open(report)}
            if still:
                self._reports[key] = still
            else:
                del self._reports[key]

    @property
    def addresses(self) -> int:
        """How many addresses are known now."""
        return len(self._buckets.keys() | self._reports.keys())


def _refuse(seconds: float) -> None:
    if seconds > 0:
        raise RefusedError(429, "too-many-requests", retry_after=max(1, round(seconds + 0.5)))
