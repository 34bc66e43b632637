-- What clients may book (core/world.h, client_limits), and bookings that recur.
--
-- One ALTER per table: on both servers it happens as a whole or not at all, so that a run that was
-- cut off finds either all of its columns or none.

-- A client's own limits; 0: the farm's. `version` names one state of the client's use of machines
-- and of its limits: each decision that changes a booking of a client with a counted limit counts it
-- up, and so does each change of its counted limits.
ALTER TABLE client
    ADD COLUMN version BIGINT NOT NULL DEFAULT 1,
    ADD COLUMN booking_s BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN ahead_s BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN allocations BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN gpus_at_once BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN gpu_hours_ahead BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT client_version CHECK (version > 0),
    ADD CONSTRAINT client_limits CHECK (booking_s >= 0 AND ahead_s >= 0 AND allocations >= 0
        AND gpus_at_once >= 0 AND gpu_hours_ahead >= 0);

-- The limits of clients that have none of their own; 0: none.
ALTER TABLE farm
    ADD COLUMN booking_s BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN ahead_s BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN allocations BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN gpus_at_once BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN gpu_hours_ahead BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT farm_limits CHECK (booking_s >= 0 AND ahead_s >= 0 AND allocations >= 0
        AND gpus_at_once >= 0 AND gpu_hours_ahead >= 0);

-- The series of a recurring booking, NULL for others. It needs no key: the ids of a series' bookings
-- follow from the series' id, ((k << 32) + seq) * 4096 + part for k in 0..365, where seq * 4096 + part
-- is the series.
-- The key is for a client's use of all machines (WHERE client IN (...) AND end_ms > ?), and for the
-- lists of bookings of a client.
ALTER TABLE booking
    ADD COLUMN series BIGINT NULL,
    ADD CONSTRAINT booking_series CHECK (series IS NULL OR series >= 4096),
    ADD KEY booking_client (client, end_ms);
