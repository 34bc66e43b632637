// usage: send.mjs BROKERS TOPIC KEY...; see ../README.md
import { Kafka, logLevel } from "kafkajs";

const [brokers, topic, ...keys] = process.argv.slice(2);
const producer = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.ERROR }).producer();
await producer.connect();
const seen = {};
for (const key of keys) {
    const [sent] = await producer.send({ topic, messages: [{ key, value: "" }] });
    seen[key] = sent.partition;
}
await producer.disconnect();
console.log(JSON.stringify(seen));
