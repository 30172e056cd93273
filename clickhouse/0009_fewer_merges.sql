-- A merge of `events` costs 2.9 µs of CPU a row, twice what the insert does, and with the default of 5 a row is merged again and again: parts are merged when
-- together they are at least five times as large as the largest of them. With 10, and 160 inserts of 50,000 events, each row was merged 2.2 times instead
-- of 3.8, and an event cost 4.2 µs with its merges instead of 5.7 (without views). So it is with the tables behind that have most to merge. At 220,000 events
-- a second ClickHouse took 4.9 µs an event for everything, instead of 6.5.
--
-- The price is more parts, which a query has to open: up to twice as many on the day that is being written. What is not written any more is merged further as it
-- gets older, as before.
ALTER TABLE events MODIFY SETTING merge_selector_base = 10;
ALTER TABLE events_per_minute MODIFY SETTING merge_selector_base = 10;
ALTER TABLE session_states MODIFY SETTING merge_selector_base = 10;
ALTER TABLE pages_per_day MODIFY SETTING merge_selector_base = 10;
