"""How many can start from one place within a time, so that nobody floods a study."""

import ipaddress

MAX_NETWORKS = 10_000  # whose starts are remembered; the oldest go first


class Starts:
    """Starts within the last `window_s` seconds, `most` from one network."""

    def __init__(self, most: int, window_s: float):
        self.most, self.window_s = most, window_s
        self._times: dict[str, list[float]] = {}

    def wait_s(self, address: str, now: float) -> int:
        """Count a start, and return 0; or return in how many seconds one is possible again from that address."""
        network = _network(address)
        recent = [when for when in self._times.pop(network, []) if when > now - self.window_s]
        self._times[network] = recent
        while len(self._times) > MAX_NETWORKS:
            del self._times[next(iter(self._times))]
        if len(recent) >= self.most:
            return int(recent[0] + self.window_s - now) + 1
        recent.append(now)
        return 0


def _network(address: str) -> str:
    """What one subscriber has of addresses: one of IPv4, or the first 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))
