/* The partition of a key, as Kafka's Java clients and librdkafka's `murmur2_random` compute it.
 * libberth computes it itself, because it must read the event partition before it publishes. */
#include <assert.h>
#include <string.h>

#include <berth.h>

/* 32-bit MurmurHash2 by Austin Appleby with Kafka's seed (org.apache.kafka.common.utils.Utils). The
 * result does not depend on the machine's byte order. */
static uint32_t murmur2(const unsigned char *data, size_t len)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)len;
    while (len >= 4) {
        uint32_t k = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                     (uint32_t)data[3] << 24;
        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
        data += 4;
        len -= 4;
    }
    if (len >= 3)
        h ^= (uint32_t)data[2] << 16;
    if (len >= 2)
        h ^= (uint32_t)data[1] << 8;
    if (len >= 1)
        h = (h ^ data[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t berth_partition_of_key(const char *key, size_t key_len, int32_t partition_count)
{
    assert(partition_count > 0);
    assert(key || key_len == 0);
    uint32_t positive = murmur2((const unsigned char *)key, key_len) & 0x7fffffff;
    return (int32_t)(positive % (uint32_t)partition_count);
}

int32_t berth_message_partition(const struct berth_message *message, int32_t partition_count)
{
    assert(partition_count > 0);
    assert(message->key || message->slot >= 0);
    if (message->slot >= 0)
        return (int32_t)(message->slot % partition_count);
    return berth_partition_of_key(message->key, strlen(message->key), partition_count);
}
