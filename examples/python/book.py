#!/usr/bin/env python3
"""Books one machine: signs a request, publishes it to Kafka and awaits the decision.

    pip install confluent-kafka 'PyJWT[crypto]'
    book.py MACHINE GPUS MEMORY_GIB START END        # times as 2026-12-01T02:00:00Z

Settings, in the environment: BERTH_KAFKA_BOOTSTRAP_SERVERS, BERTH_FARM_NAME, BERTH_CLIENT_NAME,
BERTH_CLIENT_KEY_FILE (a private key as PEM); BERTH_CLIENT_KID if the key's registered name is
not its thumbprint; BERTH_FARM_TOPIC_PREFIX (berth.); BERTH_CLIENT_WAIT_S (30). Prints
the event. Exit status 0: accepted, 3: rejected, 4: no decision in time.
"""

import base64
import hashlib
import json
import os
import sys
import time
import uuid

import jwt
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from cryptography.hazmat.primitives.serialization import load_pem_private_key

FARM = os.environ["BERTH_FARM_NAME"]
CLIENT = os.environ["BERTH_CLIENT_NAME"]
BROKERS = {"bootstrap.servers": os.environ["BERTH_KAFKA_BOOTSTRAP_SERVERS"]}
PREFIX = os.environ.get("BERTH_FARM_TOPIC_PREFIX") or "berth."
WAIT_S = int(os.environ.get("BERTH_CLIENT_WAIT_S") or 30)


def read_key(path):
    """Reads the private key; returns it with its algorithm and its RFC 7638 thumbprint."""
    with open(path, "rb") as file:
        key = load_pem_private_key(file.read(), None)
    algorithm = "RS256" if hasattr(key.public_key(), "encrypt") else "ES256"
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    members = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return key, algorithm, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def sign(request, request_id, user):
    """Returns the message: a signed token with the request."""
    key, algorithm, thumbprint = read_key(os.environ["BERTH_CLIENT_KEY_FILE"])
    now = int(time.time())
    claims = {"iss": CLIENT, "sub": user, "aud": FARM, "iat": now, "exp": now + 600,
              "jti": request_id, "request": request}
    kid = os.environ.get("BERTH_CLIENT_KID") or thumbprint
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def event_ends(consumer):
    """{partition: current end offset} of the event topic."""
    topic = f"{PREFIX}events"
    return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions}


def publish(token, key):
    """Publishes one message; returns its (partition, offset)."""
    delivered = []
    # All clients must use the same partitioner: requests for one machine belong in one partition.
    producer = Producer({**BROKERS, "partitioner": "murmur2_random", "acks": "all",
                         "enable.idempotence": True})
    producer.produce(f"{PREFIX}requests", token, key,
                     on_delivery=lambda *report: delivered.append(report))
    producer.flush(WAIT_S)
    if not delivered:
        sys.exit("book.py: no broker answers; the request may yet be published")
    error, message = delivered[0]
    if error:
        raise KafkaException(error)
    return message.partition(), message.offset()


def await_decision(consumer, ends, position):
    """Waits for the event of the request at (partition, offset); None after WAIT_S."""
    # Events of request partition p are in event partition p; this one comes after the old end.
    consumer.assign([TopicPartition(f"{PREFIX}events", position[0], ends[position[0]])])
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None or message.error():
            continue
        event = json.loads(message.value())
        request = event["data"]["request"]
        if (request["partition"], request["offset"]) == position:
            return event
    return None


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    machine, gpus, memory_gib, start, end = sys.argv[1:]
    request = {"type": "booking.create", "start": start, "end": end, "allocations": [
        {"machine": machine, "gpus": int(gpus), "memory_gib": int(memory_gib)}]}
    # Without a decision the request can be sent again with the same id: it is decided only once.
    request_id = str(uuid.uuid4())

    consumer = Consumer({**BROKERS, "group.id": "book.py", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "isolation.level": "read_uncommitted"})
    ends = event_ends(consumer)
    position = publish(sign(request, request_id, user=os.environ.get("USER") or "nobody"), machine)
    event = await_decision(consumer, ends, position)
    consumer.close()

    if event is None:
        print(f"no decision yet on request {request_id} at {position}", file=sys.stderr)
        return 4
    print(json.dumps(event, indent=2))
    return 0 if event["type"] == "berth.request.accepted" else 3


if __name__ == "__main__":
    sys.exit(main())
