"""usage: send.py BROKERS TOPIC KEY...; see ../README.md"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaProducer


async def main(brokers, topic, *keys):
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        print(json.dumps({key: (await producer.send_and_wait(topic, b"", key.encode())).partition
                          for key in keys}))


asyncio.run(main(*sys.argv[1:]))
