/** Compares what producers sent with what ClickHouse has. */
import type { Collector } from './collector.ts'
import type { Producer } from './producer.ts'

/** Every event of every producer, accounted for. `lost`, `doubled` and `unknown` must be empty. */
export interface Account {
  readonly acknowledged: number
  /** Sent, but not acknowledged: unanswered or refused. */
  readonly unanswered: number
  readonly unansweredStored: number
  /** Ids of acknowledged events that are not stored. */
  readonly lost: string[]
  /** Ids that are stored more than once. */
  readonly doubled: string[]
  /** Ids that are stored but were never sent. */
  readonly unknown: string[]
}

/**
 * Call it when everything is flushed. The ids of the producers' events are expected in `message_id`, and nobody else's.
 * @param where the events that are looked at, in SQL
 */
export async function accountFor(
  collector: Collector,
  producers: readonly Producer[],
  where = 'true',
): Promise<Account> {
  const text = await collector.query(`SELECT message_id, count() FROM events WHERE ${where} GROUP BY 1 FORMAT TSV`)
  const lines = text.split('\n').filter(Boolean)
  const stored = new Map(lines.map((line) => line.split('\t') as [id: string, count: string]))
  const doubled = [...stored].filter(([, count]) => count !== '1').map(([id]) => id)
  const lost: string[] = []
  let acknowledged = 0
  let unanswered = 0
  let unansweredStored = 0
  for (const producer of producers) {
    for (const { id, isAcknowledged } of producer.sent()) {
      const isStored = stored.delete(id)
      if (isAcknowledged) {
        acknowledged++
        if (!isStored) lost.push(id)
      } else {
        unanswered++
        if (isStored) unansweredStored++
      }
    }
  }
  return { acknowledged, unanswered, unansweredStored, lost, doubled, unknown: [...stored.keys()] }
}

/**
 * The aggregates of days, sessions, pages and referrers that do not add up to what is in `events`, with both numbers; empty when all do.
 * Call it when everything is flushed.
 */
export async function miscounted(collector: Pick<Collector, 'query'>): Promise<string[]> {
  const text = await collector.query(`
    WITH (SELECT (countIf(session_id != ''), countIf(type IN ('pageview', 'page_view')),
      countIf(type IN ('pageview', 'page_view') AND session_id != ''), count()) FROM events) AS stored
    SELECT name, expected, found FROM
    (
      SELECT 'events in sessions' AS name, stored.1 AS expected, sum(events) AS found FROM sessions
      UNION ALL SELECT 'events in activity_counts_per_day', stored.4, sum(events) FROM activity_counts_per_day
      UNION ALL SELECT 'pageviews in sessions', stored.3, sum(pageviews) FROM sessions
      UNION ALL SELECT 'pageviews in page_counts_per_day', stored.2, sum(pageviews) FROM page_counts_per_day
      UNION ALL SELECT 'pageviews in referrer_counts_per_day', stored.2, sum(pageviews) FROM referrer_counts_per_day
    )
    WHERE expected != found ORDER BY name FORMAT TSV`)
  return text.split('\n').filter(Boolean)
}
