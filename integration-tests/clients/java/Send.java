import java.util.Properties;
import java.util.StringJoiner;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** usage: Send BROKERS TOPIC KEY...; see ../README.md */
public class Send {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        StringJoiner seen = new StringJoiner(", ", "{", "}");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 2; i < args.length; i++) {
                int partition = producer.send(new ProducerRecord<>(args[1], args[i], "")).get().partition();
                seen.add("\"" + args[i] + "\": " + partition);
            }
        }
        System.out.println(seen);
    }
}
