-- Sessions, kept for ever: one row per session in view `sessions`, built from all its events, however late they come.
--
-- An insert adds one row per session that it touches, and merges make one row of those. `entry` and `exit` are texts, made so that the
-- first page is the least and the last page the greatest of them; they are taken apart when they are read:
--     entry  time, path \0 referrer_host \0 utm_source \0 utm_medium \0 utm_campaign, or `~` when no page was viewed
--     exit   time, path, or nothing when no page was viewed
-- with the time as 8 bytes, big-endian: milliseconds since 1970 plus 10^13. Texts are merged at two thirds of what tuples and argMin states cost.
--
-- The key begins with the day, so that some days can be read without the others (`sessions_between`). It is the day of the first event in an
-- insert; a session over midnight may have rows of two days, which are one when they are read. `sessions` cannot be restricted by time before it
-- has put all sessions of a workspace together. CPU of 5 million sessions in 10 parts, machine busy: 3.0 s to group them by tenant, workspace and
-- session, of which tenant and workspace, being of LowCardinality, are two thirds; 0.9 s to group them by a number. With session_id first in the key
-- and FINAL instead of GROUP BY it would be 0.1 s in one part, 1.0 in three, 2.8 in ten, and wrong over shards, each of which may have rows of a session.
--
-- A path with a \0 in it is cut there when it is read. Nothing in the view may throw, whatever a client sends: the insert, and with it
-- every later one, would wait for ever.
CREATE TABLE IF NOT EXISTS session_states
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of the first event in an insert, not before 1970-01-01: a session over midnight can have two',
    session_id   String COMMENT 'Session, the first 256 characters of it',
    started_at   SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'occurred_at of the first event: min() it',
    ended_at     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'occurred_at of the last event: max() it',
    events       SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of events: sum() it',
    pageviews    SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of pageviews: sum() it',
    user_id      SimpleAggregateFunction(max, String) COMMENT 'Known user, or empty: max() it',
    anonymous_id SimpleAggregateFunction(max, String) COMMENT 'Device or browser, or empty: max() it',
    entry        SimpleAggregateFunction(min, String) COMMENT 'Time of the first pageview, its path, referrer_host and utm_source, utm_medium, utm_campaign: min() it',
    exit         SimpleAggregateFunction(max, String) COMMENT 'Time of the last pageview and its path: max() it',
    browser      SimpleAggregateFunction(max, LowCardinality(String)) COMMENT 'Browser, or empty: max() it',
    os           SimpleAggregateFunction(max, LowCardinality(String)) COMMENT 'Operating system, or empty: max() it',
    device       SimpleAggregateFunction(max, LowCardinality(String)) COMMENT 'Kind of device, or empty: max() it'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant_id, workspace_id, day, session_id)
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'States of sessions, one row per day and session or several that are not merged yet; read sessions or sessions_between';

CREATE MATERIALIZED VIEW IF NOT EXISTS session_states_view TO session_states
(
    tenant_id    LowCardinality(String) COMMENT 'Tenant',
    workspace_id LowCardinality(String) COMMENT 'Workspace',
    day          Date COMMENT 'Day of the first event in this insert',
    session_id   String COMMENT 'Session',
    started_at   DateTime64(3, 'UTC') COMMENT 'First occurred_at in this insert',
    ended_at     DateTime64(3, 'UTC') COMMENT 'Last occurred_at in this insert',
    events       UInt64 COMMENT 'Events in this insert',
    pageviews    UInt64 COMMENT 'Pageviews in this insert',
    user_id      String COMMENT 'User, or empty',
    anonymous_id String COMMENT 'Device or browser, or empty',
    entry        String COMMENT 'First pageview in this insert',
    exit         String COMMENT 'Last pageview in this insert',
    browser      LowCardinality(String) COMMENT 'Browser',
    os           LowCardinality(String) COMMENT 'Operating system',
    device       LowCardinality(String) COMMENT 'Kind of device'
)
AS
WITH
    type IN ('pageview', 'page_view') AS is_pageview,
    reinterpretAsFixedString(byteSwap(toUInt64(toUnixTimestamp64Milli(occurred_at) + 10000000000000))) AS time,
    if(length(path) > 512, leftUTF8(path, 512), path) AS short_path,
    if(position(url, 'utm_') = 0, '', concat(
        '\0', leftUTF8(toValidUTF8(decodeURLFormComponent(extractURLParameter(url, 'utm_source'))), 256),
        '\0', leftUTF8(toValidUTF8(decodeURLFormComponent(extractURLParameter(url, 'utm_medium'))), 256),
        '\0', leftUTF8(toValidUTF8(decodeURLFormComponent(extractURLParameter(url, 'utm_campaign'))), 256))) AS campaign
SELECT
    tenant_id,
    workspace_id,
    toDate(greatest(first_at, toDateTime64(0, 3, 'UTC'))) AS day,
    leftUTF8(event_session, 256) AS session_id,
    first_at AS started_at,
    last_at AS ended_at,
    event_count AS events,
    pageview_count AS pageviews,
    leftUTF8(event_user, 256) AS user_id,
    leftUTF8(event_device, 256) AS anonymous_id,
    first_page AS entry,
    last_page AS exit,
    event_browser AS browser,
    event_os AS os,
    event_device_kind AS device
FROM
(
    SELECT
        tenant_id,
        workspace_id,
        session_id AS event_session,
        min(occurred_at) AS first_at,
        max(occurred_at) AS last_at,
        count() AS event_count,
        countIf(is_pageview) AS pageview_count,
        max(user_id) AS event_user,
        max(anonymous_id) AS event_device,
        min(if(is_pageview, concat(time, short_path, '\0', leftUTF8(referrer_host, 256), campaign), '~')) AS first_page,
        max(if(is_pageview, concat(time, short_path), '')) AS last_page,
        max(browser) AS event_browser,
        max(os) AS event_os,
        max(device) AS event_device_kind
    FROM events
    WHERE session_id != ''
    GROUP BY tenant_id, workspace_id, event_session
)
COMMENT 'Fills session_states';

CREATE VIEW IF NOT EXISTS sessions
(
    tenant_id        LowCardinality(String) COMMENT 'Tenant',
    workspace_id     LowCardinality(String) COMMENT 'Workspace',
    session_id       String COMMENT 'Session given by the client',
    user_id          String COMMENT 'Known user, or empty; of several the greatest as text',
    anonymous_id     String COMMENT 'Device or browser, or empty; of several the greatest as text',
    started_at       DateTime64(3, 'UTC') COMMENT 'occurred_at of the first event',
    ended_at         DateTime64(3, 'UTC') COMMENT 'occurred_at of the last event',
    duration_seconds Float64 COMMENT 'From started_at to ended_at, with milliseconds',
    events           UInt64 COMMENT 'Number of events',
    pageviews        UInt64 COMMENT 'Number of pageviews: events of type pageview or page_view',
    entry_path       String COMMENT 'Path of the first pageview, or empty',
    exit_path        String COMMENT 'Path of the last pageview, or empty',
    referrer_host    String COMMENT 'Host that the first pageview came from, or empty',
    source           String COMMENT 'utm_source of the first pageview, else referrer_host, else direct',
    medium           String COMMENT 'utm_medium of the first pageview, else referral when there is a referrer_host, else none',
    campaign         String COMMENT 'utm_campaign of the first pageview, or empty',
    browser          LowCardinality(String) COMMENT 'Browser, or empty',
    os               LowCardinality(String) COMMENT 'Operating system, or empty',
    device           LowCardinality(String) COMMENT 'Kind of device, or empty'
)
AS
SELECT
    tenant_id,
    workspace_id,
    session_id,
    known_user AS user_id,
    visitor AS anonymous_id,
    first_at AS started_at,
    last_at AS ended_at,
    (toUnixTimestamp64Milli(last_at) - toUnixTimestamp64Milli(first_at)) / 1000 AS duration_seconds,
    event_count AS events,
    pageview_count AS pageviews,
    entry_facts[1] AS entry_path,
    splitByChar('\0', substring(last_page, 9))[1] AS exit_path,
    entry_facts[2] AS referrer_host,
    multiIf(entry_facts[3] != '', entry_facts[3], entry_facts[2] != '', entry_facts[2], 'direct') AS source,
    multiIf(entry_facts[4] != '', entry_facts[4], entry_facts[2] != '', 'referral', 'none') AS medium,
    entry_facts[5] AS campaign,
    session_browser AS browser,
    session_os AS os,
    session_device AS device
FROM
(
    SELECT
        tenant_id,
        workspace_id,
        session_id,
        min(started_at) AS first_at,
        max(ended_at) AS last_at,
        sum(events) AS event_count,
        sum(pageviews) AS pageview_count,
        max(user_id) AS known_user,
        max(anonymous_id) AS visitor,
        splitByChar('\0', substring(min(entry), 9)) AS entry_facts,
        max(exit) AS last_page,
        max(browser) AS session_browser,
        max(os) AS session_os,
        max(device) AS session_device
    FROM session_states
    GROUP BY tenant_id, workspace_id, session_id
)
COMMENT 'Sessions, one row each';

-- The sessions of one workspace that began from `from` until before `to`. It reads the days between and one more on both sides, so sessions over
-- midnight are whole; one that pauses for more than a day can be cut at the ends. And it groups by one number, a third of the cost: among
-- 5 million sessions two have the same number with a probability of one to a million.
CREATE VIEW IF NOT EXISTS sessions_between
AS
SELECT
    {tenant:String} AS tenant_id,
    {workspace:String} AS workspace_id,
    session AS session_id,
    known_user AS user_id,
    visitor AS anonymous_id,
    first_at AS started_at,
    last_at AS ended_at,
    (toUnixTimestamp64Milli(last_at) - toUnixTimestamp64Milli(first_at)) / 1000 AS duration_seconds,
    event_count AS events,
    pageview_count AS pageviews,
    entry_facts[1] AS entry_path,
    splitByChar('\0', substring(last_page, 9))[1] AS exit_path,
    entry_facts[2] AS referrer_host,
    multiIf(entry_facts[3] != '', entry_facts[3], entry_facts[2] != '', entry_facts[2], 'direct') AS source,
    multiIf(entry_facts[4] != '', entry_facts[4], entry_facts[2] != '', 'referral', 'none') AS medium,
    entry_facts[5] AS campaign,
    session_browser AS browser,
    session_os AS os,
    session_device AS device
FROM
(
    SELECT
        any(session_id) AS session,
        min(started_at) AS first_at,
        max(ended_at) AS last_at,
        sum(events) AS event_count,
        sum(pageviews) AS pageview_count,
        max(user_id) AS known_user,
        max(anonymous_id) AS visitor,
        splitByChar('\0', substring(min(entry), 9)) AS entry_facts,
        max(exit) AS last_page,
        max(browser) AS session_browser,
        max(os) AS session_os,
        max(device) AS session_device
    FROM session_states
    WHERE tenant_id = {tenant:String} AND workspace_id = {workspace:String}
        AND day >= toDate(least(greatest({from:DateTime64(3, 'UTC')} - INTERVAL 1 DAY, toDateTime64(0, 3, 'UTC')), toDateTime64('2149-06-06', 3, 'UTC')))
        AND day <= toDate(least(greatest({to:DateTime64(3, 'UTC')} + INTERVAL 1 DAY, toDateTime64(0, 3, 'UTC')), toDateTime64('2149-06-06', 3, 'UTC')))
    GROUP BY sipHash64(session_id)
    HAVING first_at >= {from:DateTime64(3, 'UTC')} AND first_at < {to:DateTime64(3, 'UTC')}
)
COMMENT 'Sessions that began between two times: sessions_between(tenant = …, workspace = …, from = …, to = …)';
