-- The latest traits of every user, kept for ever: what `identify` events say, merged trait by trait as Segment's users expect it.
-- An identify with a plan alone keeps the e-mail address that an earlier one brought; of one trait the latest by occurred_at wins,
-- by received_at and then by the value itself where that is the same, so that the order of arrival and of merges decides nothing.
-- A trait is a key at the top: an address is replaced as a whole. A null says nothing, because JSON columns do not store it.
--
-- One row per user and trait, not one per user with a map of traits: that inserts and merges at the same cost, but in it a client that
-- invents traits could make one row, which is held in memory whenever it is read or merged, as large as it likes.
-- What is equal to an earlier state changes nothing here; the deduplication window still keeps a repeated batch from being computed again.
--
-- Measured on 100,000 rows an insert: without an identify among them the view costs nothing that could be measured (below 0.05 µs a row);
-- an identify of 7 plain traits costs 6 µs, one with an object or array among them 30 µs. That is `toJSONString`, the only way to get at
-- values inside of objects and arrays, with 3 to 5 µs for each; so it is not taken where there are none. At worst, with the 2,000 values
-- that an event may have, it is 10 ms.
--
-- Nothing in the view may throw, whatever a client sends: the insert, and with it every later one, would wait for ever.
-- Needs ClickHouse 26.4 (JSONAllValues).
CREATE TABLE IF NOT EXISTS user_traits
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    user_id      String                 COMMENT 'User',
    trait        String                 COMMENT 'Name of the trait; empty for the row that says that there was an identify',
    latest       SimpleAggregateFunction(max, Tuple(
                     occurred_at DateTime64(3, 'UTC'),
                     received_at DateTime64(3, 'UTC'),
                     value String)) COMMENT 'When the trait was said last, and its value as JSON text: max() it',
    first_seen   SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'When it was said first: min() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, user_id, trait)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Latest traits of users, one row per trait or several that are not merged yet; read users';

-- ClickHouse writes a float such as 1e20 in digits, and does not read it again: as an integer it has more than 64 bits. So such digits get a
-- `.0`, in a text with inner values only when that could not be read as it was.
CREATE MATERIALIZED VIEW IF NOT EXISTS user_traits_view TO user_traits AS
WITH
    JSONAllPathsWithTypes(properties) AS types,
    mapKeys(types) AS paths,
    arrayResize(JSONAllValues(properties), length(paths)) AS values,
    arrayExists((path, type) -> path LIKE '%.%' OR type LIKE 'Array(%', paths, mapValues(types)) AS has_inner_values,
    arrayMap(
        (path, type, value) -> (
            replaceAll(path, '%2E', '.'),
            multiIf(
                type IN ('Int64', 'UInt64', 'Bool'), value,
                type = 'Float64', replaceRegexpOne(value, '^-?[0-9]{19,}$', '\\0.0'),
                toJSONString(value))),
        paths, mapValues(types), values) AS plain_traits,
    if(has_inner_values, toJSONString(properties), '') AS text,
    '(?:^|[:,\\[])(?:-[0-9]{19,}|[0-9]{20,})' AS wide_number,
    arrayMap(
        found -> (found.1, replaceRegexpAll(found.2, wide_number, '\\0.0')),
        JSONExtractKeysAndValuesRaw(replaceRegexpAll(text, wide_number, '\\0.0'))) AS mended_traits,
    arrayFirst(found -> notEmpty(found), [JSONExtractKeysAndValuesRaw(text), mended_traits]) AS inner_traits,
    arrayConcat(inner_traits, if(has_inner_values, [], plain_traits)) AS traits
SELECT
    tenant_id,
    workspace_id,
    user_id,
    pair.1 AS trait,
    (occurred_at, received_at, pair.2) AS latest,
    occurred_at AS first_seen
FROM events
ARRAY JOIN arrayPushFront(arrayFilter(trait -> trait.1 != '', traits), ('', '')) AS pair
WHERE type = 'identify' AND user_id != ''
SETTINGS
    json_type_escape_dots_in_keys = 1,
    output_format_json_quote_64bit_integers = 0,
    output_format_json_escape_forward_slashes = 0
COMMENT 'Fills user_traits';

-- The values become one JSON again when they are read; one that cannot is empty, so that no user makes the others unreadable.
CREATE VIEW IF NOT EXISTS users AS
WITH concat('{', arrayStringConcat(groupArrayIf(concat(toJSONString(trait), ':', newest.value), trait != ''), ','), '}') AS text
SELECT
    tenant_id,
    workspace_id,
    user_id,
    ifNull(accurateCastOrNull(text, 'JSON'), CAST('{}', 'JSON')) AS traits,
    min(first) AS first_seen,
    max(newest.occurred_at) AS last_seen
FROM
(
    SELECT tenant_id, workspace_id, user_id, trait, max(latest) AS newest, min(first_seen) AS first
    FROM user_traits
    GROUP BY tenant_id, workspace_id, user_id, trait
)
GROUP BY tenant_id, workspace_id, user_id
SETTINGS
    json_type_escape_dots_in_keys = 1,
    type_json_skip_duplicated_paths = 1,
    input_format_try_infer_dates = 0,
    input_format_try_infer_datetimes = 0
COMMENT 'Users with their latest traits, and when they were identified first and last';

-- One user's events without reading everybody's. Events are sorted by type and time, so a user's lie everywhere; the filter says which
-- granules (8,192 rows) cannot have any. Measured on 2 million events of 200,000 users in three workspaces: 0.8 bytes a row, below
-- 0.1 µs a row to insert; one user's events in 7 ms instead of 72, 32,000 rows read instead of 686,000.
-- Parts from before it are read as a whole until they are merged. A projection sorted by user would be exact, but takes 6 bytes a row
-- and was not used for these queries.
ALTER TABLE events ADD INDEX IF NOT EXISTS user_id_filter user_id TYPE bloom_filter(0.01) GRANULARITY 1;
