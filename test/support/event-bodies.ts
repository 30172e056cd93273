/** Bodies of inserts into `events`, made by ClickHouse itself. */
import type { TestClickHouse } from './clickhouse.ts'

export interface EventBody {
  /** Every row has it as its message_id, to find the body's rows again. */
  readonly name: string
  readonly rows: number
  /** Native blocks. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** A body of `rows` events of half as many users, received in the last and first second around a midnight: two partitions. */
export async function eventBody(server: TestClickHouse, name: string, rows: number): Promise<EventBody> {
  const sql = `
    SELECT 'tenant' AS tenant_id, 'ws' || toString(number % 3) AS workspace_id, generateUUIDv4(number) AS event_id, '${name}' AS message_id,
      ['pageview', 'click', 'search'][1 + number % 3] AS type, 'test' AS protocol,
      toDateTime64('2026-11-20 10:00:00', 3, 'UTC') + toIntervalSecond(number % 7200) AS occurred_at,
      toDateTime64('2026-11-20 23:59:59', 3, 'UTC') + toIntervalSecond(number % 2) AS received_at,
      'session-' || toString(number % 100) AS session_id, 'user-' || toString(intDiv(number, 2)) AS user_id, '' AS anonymous_id,
      concat('{"n":', toString(number), ',"cart":{"id":"', toString(number % 50), '"}}')::JSON(max_dynamic_paths = 0) AS properties
    FROM numbers(${rows}) FORMAT Native`
  const settings = {
    output_format_native_use_flattened_dynamic_and_json_serialization: '1',
    max_block_size: String(rows),
  }
  const response = await fetch(`${server.url}/?${new URLSearchParams(settings)}`, { method: 'POST', body: sql })
  if (!response.ok) throw new Error(await response.text())
  return { name, rows, bytes: new Uint8Array(await response.arrayBuffer()) }
}

/** Inserts a body under a token, as the flusher does. Returns ClickHouse's error code, 0 for success; throws when it is away. */
export async function insertEvents(url: string, database: string, body: EventBody, token: string): Promise<number> {
  const parameters = new URLSearchParams({
    query: 'INSERT INTO events FORMAT Native',
    database,
    insert_deduplication_token: token,
    async_insert: '1',
    wait_for_async_insert: '1',
  })
  const response = await fetch(`${url}/?${parameters}`, { method: 'POST', body: body.bytes })
  await response.text()
  return response.ok ? 0 : Number(response.headers.get('X-ClickHouse-Exception-Code'))
}
