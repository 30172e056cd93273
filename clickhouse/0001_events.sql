-- Every accepted event, once.
--
-- Partitions and TTL go by the server's receive time: an insert touches one partition (two around midnight), and old days
-- are dropped as whole parts. Client time may be anything, and an insert may touch 100 partitions at most.
--
-- non_replicated_deduplication_window: how many inserted blocks (one per insert and partition) are remembered, so that a
-- batch sent again with its token is recognised. It has to cover everything that is inserted between two tries of one batch,
-- also when a collector was killed and comes back later: 20,000 are 5 hours of one insert a second, or 1 hour at 90 MB/s.
-- Memory is what it costs: 0.7 KB a block at most (measured on 20,000 blocks, old parts included), so 14 MB a table.
--
-- fsync_*: without them ClickHouse confirms an insert that a power cut can take back. Measured with 100,000 rows an insert:
-- 12 to 17 ms an insert, and 0.2 µs of CPU a row at most.
--
-- JSON with max_dynamic_paths = 0 and shared data as a plain map: all paths of a row lie together, so a row costs what its own
-- values cost, however many distinct keys the other rows have. Measured per row of 9 values, 100,000 rows an insert: 1.4 µs to insert
-- and 2.0 µs to merge; with the default settings of shared data 2.3 and 6.2; with a column per path as much as this for 5 distinct
-- keys, but 24 times as much for 300. The price is paid by queries: one property of a row costs 0.14 µs to read, not 0.03.
-- A Native block has to name the JSON types exactly as they are here, or ClickHouse converts every value (14 µs a row).
--
-- min_bytes_for_wide_part: an insert becomes a compact part, a few files instead of two a column to write and to sync.
CREATE TABLE IF NOT EXISTS events
(
    tenant_id      LowCardinality(String)  COMMENT 'Tenant of the API key',
    workspace_id   LowCardinality(String)  COMMENT 'Workspace of the API key',
    event_id       UUID                    COMMENT 'The client''s id when it is a UUID, a UUIDv5 of any other id, else a UUIDv7 made at receipt',
    message_id     String                  COMMENT 'The client''s id as it was sent when it is not a UUID, else empty',
    type           LowCardinality(String)  COMMENT 'Event type or name, such as pageview or Order Completed',
    protocol       LowCardinality(String)  COMMENT 'The interface that the event came through',
    occurred_at    DateTime64(3, 'UTC')    COMMENT 'When it happened: client time, corrected by the client''s clock skew where that is known',
    received_at    DateTime64(3, 'UTC')    COMMENT 'When the server received it',
    session_id     String                  COMMENT 'Session given by the client, or empty',
    user_id        String                  COMMENT 'Known user, or empty',
    anonymous_id   String                  COMMENT 'Device or browser of a user who may be unknown, or empty',
    url            String                  COMMENT 'Full address of the page',
    path           String                  COMMENT 'Path of url',
    referrer       String                  COMMENT 'Full address of the page before',
    referrer_host  LowCardinality(String)  COMMENT 'Host of referrer',
    title          String                  COMMENT 'Title of the page',
    locale         LowCardinality(String)  COMMENT 'Language of the client, such as de-AT',
    user_agent     LowCardinality(String)  COMMENT 'User-Agent as it was sent',
    browser        LowCardinality(String)  COMMENT 'Derived from user_agent',
    os             LowCardinality(String)  COMMENT 'Derived from user_agent',
    device         LowCardinality(String)  COMMENT 'Derived from user_agent',
    ip             IPv6                    COMMENT 'Address of the client (IPv4 as ::ffff:a.b.c.d), truncated when ANONYMIZE_IP is set',
    schema_version LowCardinality(String)  COMMENT 'Version of the event''s schema, as the client names it',
    properties     JSON(max_dynamic_paths = 0) COMMENT 'What the client sent with the event',
    context        JSON(max_dynamic_paths = 0)   COMMENT 'What the client said about its surroundings, beyond the columns above'
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (tenant_id, workspace_id, type, occurred_at)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 20000,
    object_shared_data_serialization_version = 'map',
    object_shared_data_serialization_version_for_zero_level_parts = 'map',
    min_bytes_for_wide_part = 134217728,
    fsync_after_insert = 1,
    fsync_part_directory = 1
COMMENT 'Every accepted event, once; kept for 90 days';
