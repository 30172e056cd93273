-- Times before 1970 in the counts per minute, hour and day: they count in the first minute of 1970.
--
-- Client time may be of the years 1900 on, DateTime begins with 1970. Until now such times wrapped around: an event of 1950 was counted in 2086,
-- where a dashboard that shows "everything" looks. What was counted so before stays.
ALTER TABLE events_per_minute_view MODIFY QUERY
SELECT
    tenant_id,
    workspace_id,
    type,
    toStartOfMinute(greatest(occurred_at, toDateTime64(0, 3, 'UTC'))) AS minute,
    count() AS events,
    uniqStateIf(if(user_id != '', user_id, anonymous_id), user_id != '' OR anonymous_id != '') AS users,
    uniqStateIf(session_id, session_id != '') AS sessions
FROM events
GROUP BY tenant_id, workspace_id, type, minute;

-- DESCRIBE explains the views that were there before, too.
ALTER TABLE event_counts_per_minute
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN minute 'Start of the minute of occurred_at, not before 1970',
    COMMENT COLUMN events 'Number of events',
    COMMENT COLUMN users 'Distinct users, approximately',
    COMMENT COLUMN sessions 'Distinct sessions, approximately';

ALTER TABLE event_counts_per_hour
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN hour 'Start of the hour of occurred_at, not before 1970',
    COMMENT COLUMN events 'Number of events',
    COMMENT COLUMN users 'Distinct users, approximately',
    COMMENT COLUMN sessions 'Distinct sessions, approximately';

ALTER TABLE event_counts_per_day
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN day 'Day of occurred_at in UTC, not before 1970',
    COMMENT COLUMN events 'Number of events',
    COMMENT COLUMN users 'Distinct users, approximately',
    COMMENT COLUMN sessions 'Distinct sessions, approximately';

ALTER TABLE users
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN user_id 'User',
    COMMENT COLUMN traits 'Latest value of every trait',
    COMMENT COLUMN first_seen 'occurred_at of the first identify',
    COMMENT COLUMN last_seen 'occurred_at of the last identify';

ALTER TABLE events_per_minute_view
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN minute 'Start of the minute of occurred_at',
    COMMENT COLUMN events 'Events in this insert',
    COMMENT COLUMN users 'Distinct users in this insert',
    COMMENT COLUMN sessions 'Distinct sessions in this insert';

ALTER TABLE events_per_hour_view
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN hour 'Start of the hour',
    COMMENT COLUMN events 'Events in this insert',
    COMMENT COLUMN users 'Distinct users in this insert',
    COMMENT COLUMN sessions 'Distinct sessions in this insert';

ALTER TABLE events_per_day_view
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN type 'Event type',
    COMMENT COLUMN day 'Day',
    COMMENT COLUMN events 'Events in this insert',
    COMMENT COLUMN users 'Distinct users in this insert',
    COMMENT COLUMN sessions 'Distinct sessions in this insert';

ALTER TABLE user_traits_view
    COMMENT COLUMN tenant_id 'Tenant',
    COMMENT COLUMN workspace_id 'Workspace',
    COMMENT COLUMN user_id 'User',
    COMMENT COLUMN trait 'Name of the trait',
    COMMENT COLUMN latest 'When it was said, and its value as JSON text',
    COMMENT COLUMN first_seen 'When it was said';
