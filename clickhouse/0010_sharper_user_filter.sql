-- A filter on users that is wrong of one granule in a thousand, not of one in a hundred. Of 50 million events one user's journey over 30 days read 17 granules
-- of 8,192 rows instead of 61, most of which had none of the user's events: 39 to 45 ms instead of 47 to 60 (medians of 40 users). It takes 0.085 bytes a row instead of 0.057.
--
-- Under a new name: the old filter of a part, taken for a new one, would hide events, because it has other hashes. The parts that are there get
-- theirs in the background (20 s for 50 million events on 2 cores); until then they are read as a whole. The old filter goes first, because a change of the table waits
-- for what the background has to do.
ALTER TABLE events DROP INDEX IF EXISTS user_id_filter;
ALTER TABLE events ADD INDEX IF NOT EXISTS user_filter user_id TYPE bloom_filter(0.001) GRANULARITY 1;
ALTER TABLE events MATERIALIZE INDEX user_filter;
