"""In which partition a series lies: what Kafka's default partitioner does with its id as the key."""

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_M = 0x5BD1E995


def hash_murmur2(key: bytes) -> int:
    """MurmurHash2, 32 bits (Appleby 2008), as Kafka's ``Utils.murmur2``, here without a sign."""
    h = _SEED ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if tail := key[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def find_partition(series: str, partitions: int) -> int:
    """The partition of a series among ``partitions``."""
    return (hash_murmur2(series.encode()) & 0x7FFFFFFF) % partitions
