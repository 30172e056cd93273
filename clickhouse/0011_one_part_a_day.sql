-- Few merges while a day is written, and one more when it is over.
--
-- A day's partition used to keep the parts that it ended with, four of a quiet day and twenty of a busy one, until they were old enough to be merged
-- further. Every query opens all of them: of one user's journey over 30 days and 130 parts more than half the time went into planning, 0.07 ms a part.
-- An hour after the last insert into it a partition now becomes one part: journeys took 24 to 31 ms instead of 39 to 45 (medians, 50 million events). It is a rewrite of the whole
-- day, 1.2 µs a row by one thread, and needs room on the disk for a copy of the day while it runs. ClickHouse takes one day of the table after the other, that which has been
-- quiet longest first, and leaves a single part alone; so what there is when this migration comes is rewritten once, beside ordinary merges (seen with 26.7).
-- A day of more than 150 GiB stays in several parts (max_bytes_to_merge_at_max_space_in_pool), as does one that the disk has not twice the room for; neither is in the way of others.
--
-- As it comes anyway, the day needs fewer before: with 20 instead of 10 parts are merged when together they are twenty times as large as the largest of them. In a
-- simulation of ClickHouse's selector with one insert a second a row is merged 3.9 times a day instead of 4.7, and a day has 25 parts at a time instead of 19.
ALTER TABLE events MODIFY SETTING
    merge_selector_base = 20,
    min_age_to_force_merge_seconds = 3600,
    min_age_to_force_merge_on_partition_only = 1;
