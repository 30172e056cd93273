-- Activity per day over all event types, kept for ever.
--
-- Distinct users of a day, a week or a month come from one state a day instead of one for each type and day. With the users of 5 million sessions,
-- 60 days and 4 types, putting the types together first took a third of the time of a panel with active users; shops have ten types.
--
-- The fourth step of the cascade in 0002: it reads what was just written to events_per_day, some rows an insert. Measured with 100,000 events an insert,
-- machine busy: 10 to 13 ms of CPU an insert, 0.1 µs an event, merges among them.
-- What was counted in events_per_day before this table was made is not in it.
CREATE TABLE IF NOT EXISTS activity_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    events       SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events of all types: sum() it, rows of one key may not be merged yet',
    users        AggregateFunction(uniq, String) COMMENT 'Distinct users: uniqMerge() it',
    sessions     AggregateFunction(uniq, String) COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, day)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Events, users and sessions per day over all types as states; read activity_counts_per_day';

CREATE MATERIALIZED VIEW IF NOT EXISTS activity_per_day_view TO activity_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day',
    events       UInt64 COMMENT 'Events in this insert',
    users        AggregateFunction(uniq, String) COMMENT 'Distinct users in this insert',
    sessions     AggregateFunction(uniq, String) COMMENT 'Distinct sessions in this insert'
)
AS
SELECT
    tenant_id,
    workspace_id,
    day,
    sum(events) AS events,
    uniqMergeState(users) AS users,
    uniqMergeState(sessions) AS sessions
FROM events_per_day
GROUP BY tenant_id, workspace_id, day
COMMENT 'Fills activity_per_day';

CREATE VIEW IF NOT EXISTS activity_counts_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    events       UInt64 COMMENT 'Number of events of all types',
    users        UInt64 COMMENT 'Distinct users, approximately',
    sessions     UInt64 COMMENT 'Distinct sessions, approximately'
)
AS
SELECT tenant_id, workspace_id, day, sum(events) AS events, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM activity_per_day
GROUP BY tenant_id, workspace_id, day
COMMENT 'Events, users and sessions per day over all types as numbers';
