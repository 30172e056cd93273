-- Pageviews per day of client time: by page, and by the host that the visitor came from. Kept for ever.
--
-- A pageview is an event of type pageview or page_view. Both tables count every pageview once, those without a path under '', those that came
-- from nowhere under ''. A user is user_id or else anonymous_id.
-- A client can invent paths and hosts: a day has a row for each of them, which is why a path is cut after 512 characters, a host after 256. Days before 1970 count
-- as 1970-01-01, which is where type Date begins.
CREATE TABLE IF NOT EXISTS pages_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    path         String COMMENT 'Path of the page, the first 512 characters of it',
    pageviews    SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of pageviews: sum() it, rows of one key may not be merged yet',
    users        AggregateFunction(uniq, String) COMMENT 'Distinct users: uniqMerge() it',
    sessions     AggregateFunction(uniq, String) COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, day, path)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Pageviews per day and page as states; read page_counts_per_day';

CREATE TABLE IF NOT EXISTS referrers_per_day
(
    tenant_id     LowCardinality(String) COMMENT 'Tenant',
    workspace_id  LowCardinality(String) COMMENT 'Workspace',
    day           Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    referrer_host String COMMENT 'Host of the page before, or empty',
    pageviews     SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of pageviews: sum() it, rows of one key may not be merged yet',
    users         AggregateFunction(uniq, String) COMMENT 'Distinct users: uniqMerge() it',
    sessions      AggregateFunction(uniq, String) COMMENT 'Distinct sessions: uniqMerge() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, day, referrer_host)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Pageviews per day and referring host as states; read referrer_counts_per_day';

CREATE MATERIALIZED VIEW IF NOT EXISTS pages_per_day_view TO pages_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day',
    path         String COMMENT 'Path',
    pageviews    UInt64 COMMENT 'Pageviews in this insert',
    users        AggregateFunction(uniq, String) COMMENT 'Distinct users in this insert',
    sessions     AggregateFunction(uniq, String) COMMENT 'Distinct sessions in this insert'
)
AS
SELECT
    tenant_id,
    workspace_id,
    toDate(greatest(occurred_at, toDateTime64(0, 3, 'UTC'))) AS day,
    if(length(path) > 512, leftUTF8(path, 512), path) AS path,
    count() AS pageviews,
    uniqStateIf(if(user_id != '', user_id, anonymous_id), user_id != '' OR anonymous_id != '') AS users,
    uniqStateIf(session_id, session_id != '') AS sessions
FROM events
WHERE type IN ('pageview', 'page_view')
GROUP BY tenant_id, workspace_id, day, path
COMMENT 'Fills pages_per_day';

CREATE MATERIALIZED VIEW IF NOT EXISTS referrers_per_day_view TO referrers_per_day
(
    tenant_id     LowCardinality(String) COMMENT 'Tenant',
    workspace_id  LowCardinality(String) COMMENT 'Workspace',
    day           Date COMMENT 'Day',
    referrer_host String COMMENT 'Host',
    pageviews     UInt64 COMMENT 'Pageviews in this insert',
    users         AggregateFunction(uniq, String) COMMENT 'Distinct users in this insert',
    sessions      AggregateFunction(uniq, String) COMMENT 'Distinct sessions in this insert'
)
AS
SELECT
    tenant_id,
    workspace_id,
    toDate(greatest(occurred_at, toDateTime64(0, 3, 'UTC'))) AS day,
    if(length(referrer_host) > 256, leftUTF8(referrer_host, 256), referrer_host) AS referrer_host,
    count() AS pageviews,
    uniqStateIf(if(user_id != '', user_id, anonymous_id), user_id != '' OR anonymous_id != '') AS users,
    uniqStateIf(session_id, session_id != '') AS sessions
FROM events
WHERE type IN ('pageview', 'page_view')
GROUP BY tenant_id, workspace_id, day, referrer_host
COMMENT 'Fills referrers_per_day';

CREATE VIEW IF NOT EXISTS page_counts_per_day
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    path         String COMMENT 'Path of the page, or empty; the first 512 characters of it',
    pageviews    UInt64 COMMENT 'Number of pageviews',
    users        UInt64 COMMENT 'Distinct users, approximately',
    sessions     UInt64 COMMENT 'Distinct sessions, approximately'
)
AS
SELECT tenant_id, workspace_id, day, path, sum(pageviews) AS pageviews, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM pages_per_day
GROUP BY tenant_id, workspace_id, day, path
COMMENT 'Pageviews, users and sessions per day and page as numbers';

CREATE VIEW IF NOT EXISTS referrer_counts_per_day
(
    tenant_id     LowCardinality(String) COMMENT 'Tenant',
    workspace_id  LowCardinality(String) COMMENT 'Workspace',
    day           Date COMMENT 'Day of occurred_at in UTC, not before 1970-01-01',
    referrer_host String COMMENT 'Host that the visitor came from, or empty when there was none',
    pageviews     UInt64 COMMENT 'Number of pageviews',
    users         UInt64 COMMENT 'Distinct users, approximately',
    sessions      UInt64 COMMENT 'Distinct sessions, approximately'
)
AS
SELECT tenant_id, workspace_id, day, referrer_host, sum(pageviews) AS pageviews, uniqMerge(users) AS users, uniqMerge(sessions) AS sessions
FROM referrers_per_day
GROUP BY tenant_id, workspace_id, day, referrer_host
COMMENT 'Pageviews, users and sessions per day and referring host as numbers';
