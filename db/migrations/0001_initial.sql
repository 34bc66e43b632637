-- Berth's tables. docs/database.md says what each column means and who writes it.
--
-- Times are milliseconds since the Unix epoch, windows are half-open. Names and ids are ascii_bin:
-- a server's default collation would take 'AbC' and 'aBc' for one name. Free text is utf8mb4_bin.
--
-- Foreign keys only between tables that batches do not write: on the others they would lock parent
-- rows outside of the order in which the worker locks (partitions, machines, bookings).
-- `berth-admin audit` checks those references instead.
--
-- MySQL before 8.0.16 parses CHECK and ignores it.

-- One row: the installation.
CREATE TABLE IF NOT EXISTS farm (
    id TINYINT NOT NULL DEFAULT 1,
    name VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    partitions INT NOT NULL,
    cluster_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    key_generation BIGINT NOT NULL DEFAULT 1,
    halted VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    PRIMARY KEY (id),
    CONSTRAINT farm_is_one_row CHECK (id = 1),
    CONSTRAINT farm_has_partitions CHECK (partitions BETWEEN 1 AND 4096)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- One row for each partition of the request topic: who decides, and how far it got.
CREATE TABLE IF NOT EXISTS request_partition (
    part INT NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    progress_epoch BIGINT NOT NULL DEFAULT 0,
    owner VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    connection_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
    next_offset BIGINT NOT NULL,
    last_seq BIGINT NOT NULL DEFAULT 0,
    published_seq BIGINT NOT NULL DEFAULT 0,
    clock_ms BIGINT NOT NULL DEFAULT 0,
    last_sha256 BINARY(32) NULL,
    ignore_time_until BIGINT NOT NULL DEFAULT 0,
    reject_offset BIGINT NOT NULL DEFAULT -1,
    halted VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    PRIMARY KEY (part),
    CONSTRAINT partition_number CHECK (part BETWEEN 0 AND 4095),
    CONSTRAINT partition_progress CHECK (progress_epoch BETWEEN 0 AND epoch),
    CONSTRAINT partition_offset CHECK (next_offset >= 0),
    CONSTRAINT partition_published CHECK (published_seq BETWEEN 0 AND last_seq),
    CONSTRAINT partition_decided CHECK ((last_seq = 0) = (last_sha256 IS NULL)),
    CONSTRAINT partition_reject CHECK (reject_offset >= -1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who may send requests.
CREATE TABLE IF NOT EXISTS client (
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    role ENUM('submitter', 'admin') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    added_at_ms BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Their public keys. A key is revoked, never deleted: a kid is never used again.
CREATE TABLE IF NOT EXISTS client_key (
    kid VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    algorithm ENUM('RS256', 'ES256') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    public_pem TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    not_before_ms BIGINT NOT NULL DEFAULT 0,
    not_after_ms BIGINT NULL,
    added_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT NULL,
    PRIMARY KEY (kid),
    -- berth-admin key list CLIENT; and the foreign key wants it.
    KEY client_key_client (client),
    CONSTRAINT client_key_owner FOREIGN KEY (client) REFERENCES client (name),
    CONSTRAINT client_key_validity CHECK (not_after_ms IS NULL OR not_before_ms < not_after_ms)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS machine (
    id BIGINT NOT NULL,
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    gpus INT NOT NULL,
    memory_gib INT NOT NULL,
    -- Canonical JSON: one object, no blanks, keys in order.
    labels TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    state ENUM('up', 'draining', 'retired') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    capacity_changed_ms BIGINT NOT NULL,
    PRIMARY KEY (id),
    -- From a name to its id, before locking (WHERE name IN (...)); a name is registered once.
    UNIQUE KEY machine_name (name),
    CONSTRAINT machine_id CHECK (id > 0),
    CONSTRAINT machine_capacity CHECK (gpus BETWEEN 0 AND 65535
        AND memory_gib BETWEEN 0 AND 16777216),
    CONSTRAINT machine_version CHECK (version > 0)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The booking as it is now. Its id is seq * 4096 + part of the decision that made it.
CREATE TABLE IF NOT EXISTS booking (
    id BIGINT NOT NULL,
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    state ENUM('booked', 'cancelled', 'released') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT booking_id CHECK (id >= 4096),
    CONSTRAINT booking_window CHECK (start_ms <= end_ms),
    CONSTRAINT booking_seconds CHECK (start_ms % 1000 = 0 AND end_ms % 1000 = 0),
    CONSTRAINT booking_version CHECK (version > 0)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What bookings use of machines. History: rows are ended or set to live = 0, never deleted.
CREATE TABLE IF NOT EXISTS allocation (
    booking BIGINT NOT NULL,
    machine BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    gpus INT NOT NULL,
    memory_gib INT NOT NULL,
    live TINYINT NOT NULL,
    -- The machine's version when this row was last written.
    machine_version BIGINT NOT NULL,
    -- A booking's allocations (WHERE booking IN (...)).
    PRIMARY KEY (booking, machine, start_ms),
    -- Loading a timeline (WHERE machine IN (...) AND end_ms > ? AND live = 1), without touching
    -- the rows themselves; and the bookings on a machine.
    KEY allocation_timeline (machine, end_ms, start_ms, gpus, memory_gib, live),
    CONSTRAINT allocation_window CHECK (start_ms < end_ms),
    CONSTRAINT allocation_seconds CHECK (start_ms % 1000 = 0 AND end_ms % 1000 = 0),
    CONSTRAINT allocation_amount CHECK (gpus >= 0 AND memory_gib >= 0 AND gpus + memory_gib > 0),
    CONSTRAINT allocation_live CHECK (live IN (0, 1))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Every message's one answer, with the event's bytes: the outbox.
CREATE TABLE IF NOT EXISTS decision (
    part INT NOT NULL,
    seq BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    message_sha256 BINARY(32) NOT NULL,
    -- NULL: the signature did not verify.
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- NULL except in the one decision that uses the client's id up.
    request_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    content_sha256 BINARY(32) NULL,
    outcome ENUM('accepted', 'rejected') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
    subject VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NULL,
    time_ms BIGINT NOT NULL,
    event MEDIUMBLOB NOT NULL,
    -- The outbox from a sequence number on (WHERE part = ? AND seq > ? ORDER BY seq).
    PRIMARY KEY (part, seq),
    -- One decision for one message; the decision of a message (WHERE part = ? AND log_offset = ?).
    UNIQUE KEY decision_offset (part, log_offset),
    -- An id is used up once; was it used before? (WHERE client = ? AND request_id IN (...)).
    UNIQUE KEY decision_request (client, request_id),
    CONSTRAINT decision_number CHECK (seq > 0 AND log_offset >= 0),
    CONSTRAINT decision_id CHECK ((request_id IS NULL) = (content_sha256 IS NULL)
        AND (request_id IS NULL OR client IS NOT NULL)),
    CONSTRAINT decision_reason CHECK ((outcome = 'accepted') = (reason IS NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
