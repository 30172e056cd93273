-- Counts per minute, hour and day of client time, kept for ever.
--
-- They are filled by a cascade: events → minute → hour → day. Each step reads only what the step before has just written,
-- so a batch is hashed once, not three times. Every target has a deduplication window of its own: a batch sent again with
-- its token is recognised at every step, and one that failed half-way is completed.
--
-- Not partitioned by time: it is client time, which may be anything, and an insert may touch 100 partitions at most.
-- Nothing is ever dropped from these tables, so partitions would serve nothing.
--
-- A user is user_id or else anonymous_id; events without either count as no user, events without session as no session.
CREATE TABLE IF NOT EXISTS events_per_minute
(
    tenant_id    LowCardinality(String)            COMMENT 'Tenant',
    workspace_id LowCardinality(String)            COMMENT 'Workspace',
    type         LowCardinality(String)            COMMENT 'Event type',
    minute       DateTime('UTC')                   COMMENT 'Start of the minute of occurred_at',
    events       SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events: sum() it, rows of one key may not be merged yet',
    users        AggregateFunction(uniq, String)   COMMENT 'Distinct users: uniqMerge() it',
    sessions     AggregateFunction(uniq, String)   COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, type, minute)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Events, users and sessions per minute as states; read event_counts_per_minute';

CREATE TABLE IF NOT EXISTS events_per_hour
(
    tenant_id    LowCardinality(String)            COMMENT 'Tenant',
    workspace_id LowCardinality(String)            COMMENT 'Workspace',
    type         LowCardinality(String)            COMMENT 'Event type',
    hour         DateTime('UTC')                   COMMENT 'Start of the hour of occurred_at',
    events       SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events: sum() it, rows of one key may not be merged yet',
    users        AggregateFunction(uniq, String)   COMMENT 'Distinct users: uniqMerge() it',
    sessions     AggregateFunction(uniq, String)   COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, type, hour)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Events, users and sessions per hour as states; read event_counts_per_hour';

CREATE TABLE IF NOT EXISTS events_per_day
(
    tenant_id    LowCardinality(String)            COMMENT 'Tenant',
    workspace_id LowCardinality(String)            COMMENT 'Workspace',
    type         LowCardinality(String)            COMMENT 'Event type',
    day          Date                              COMMENT 'Day of occurred_at in UTC',
    events       SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events: sum() it, rows of one key may not be merged yet',
    users        AggregateFunction(uniq, String)   COMMENT 'Distinct users: uniqMerge() it',
    sessions     AggregateFunction(uniq, String)   COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, type, day)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Events, users and sessions per day as states; read event_counts_per_day';

-- The cascade is built from its end: the view on events comes last, so nothing flows before all of it is there.
CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_day_view TO events_per_day AS
SELECT
    tenant_id,
    workspace_id,
    type,
    toDate(hour) AS day,
    sum(events) AS events,
    uniqMergeState(users) AS users,
    uniqMergeState(sessions) AS sessions
FROM events_per_hour
GROUP BY tenant_id, workspace_id, type, day
COMMENT 'Fills events_per_day';

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_hour_view TO events_per_hour AS
SELECT
    tenant_id,
    workspace_id,
    type,
    toStartOfHour(minute) AS hour,
    sum(events) AS events,
    uniqMergeState(users) AS users,
    uniqMergeState(sessions) AS sessions
FROM events_per_minute
GROUP BY tenant_id, workspace_id, type, hour
COMMENT 'Fills events_per_hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_view TO events_per_minute AS
SELECT
    tenant_id,
    workspace_id,
    type,
    toStartOfMinute(occurred_at) AS minute,
    count() AS events,
    uniqStateIf(if(user_id != '', user_id, anonymous_id), user_id != '' OR anonymous_id != '') AS users,
    uniqStateIf(session_id, session_id != '') AS sessions
FROM events
GROUP BY tenant_id, workspace_id, type, minute
COMMENT 'Fills events_per_minute';

CREATE VIEW IF NOT EXISTS event_counts_per_minute AS
SELECT tenant_id, workspace_id, type, minute, sum(events) AS events, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM events_per_minute
GROUP BY tenant_id, workspace_id, type, minute
COMMENT 'Events, users and sessions per minute and type as numbers';

CREATE VIEW IF NOT EXISTS event_counts_per_hour AS
SELECT tenant_id, workspace_id, type, hour, sum(events) AS events, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM events_per_hour
GROUP BY tenant_id, workspace_id, type, hour
COMMENT 'Events, users and sessions per hour and type as numbers';

CREATE VIEW IF NOT EXISTS event_counts_per_day AS
SELECT tenant_id, workspace_id, type, day, sum(events) AS events, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM events_per_day
GROUP BY tenant_id, workspace_id, type, day
COMMENT 'Events, users and sessions per day and type as numbers';
