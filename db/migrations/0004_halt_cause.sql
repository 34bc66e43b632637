-- Why a partition, or the farm, is halted, in one word (db/halt.h); NULL: it is not halted, or nobody
-- gave a cause. Each statement finds nothing to do, or does the same again, when it is run twice.
ALTER TABLE farm
    ADD COLUMN halt_cause VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL;
ALTER TABLE request_partition
    ADD COLUMN halt_cause VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL;

-- Halts that stand already: the cause is in their sentence. The sentence about an undecidable message
-- quotes an error at its end, so it comes before the others.
UPDATE farm SET halt_cause = 'database_older' WHERE halted LIKE '% older state%';
UPDATE request_partition SET halt_cause = CASE
    WHEN halted LIKE '%owners made no progress at offset%' THEN 'repeated_deaths'
    WHEN halted LIKE '%cannot be decided (%' THEN 'undecidable'
    WHEN halted LIKE '%has no append time%' THEN 'no_append_time'
    WHEN halted LIKE '%were deleted before they were decided%' THEN 'requests_deleted'
    WHEN halted LIKE '%its log was cut or made again%' THEN 'request_log_replaced'
    WHEN halted LIKE '%the first that init saw%' THEN 'request_log_replaced'
    WHEN halted LIKE '%is not the one that was decided last%' THEN 'request_log_replaced'
    WHEN halted LIKE '%events were published: the topic was deleted%' THEN 'events_deleted'
    WHEN halted LIKE '%are none of Berth''s decisions%' THEN 'foreign_events'
    WHEN halted LIKE '%missing in the database: restore%' THEN 'decisions_missing'
    END
    WHERE halted <> '';
