/**
 * Whether ClickHouse can read a body, found out without writing anything: the body is inserted into `null()` with the columns of
 * the events table. No table and no view takes part, so nothing but the body can be the reason when it fails and a body that
 * is known to be good does not. (ClickHouse 26.7 gives the same codes as for the insert.)
 */
import { EventBlock } from '../native/event-block.ts'
import {
  askText,
  EVENTS_TABLE,
  type InsertTarget,
  READING_SETTINGS,
  type StatementFailure,
  sendStatement,
} from './insert.ts'

/** A body to be read. */
export interface DryRunBody {
  readonly body: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  readonly bodyBytes: number
}

/** Reads bodies as the events table of the moment of `prepareDryRun` would. Undefined: it can be read. */
export type DryRun = (body: DryRunBody, signal?: AbortSignal) => Promise<StatementFailure | undefined>

const COLUMNS_QUERY = `
SELECT arrayStringConcat(groupArray(concat('\`', name, '\` ', type)), ', ')
FROM (
  SELECT name, type FROM system.columns
  WHERE database = currentDatabase() AND table = '${EVENTS_TABLE}' AND default_kind IN ('', 'DEFAULT')
  ORDER BY position
)
FORMAT TSVRaw`

/** Asks for the columns of the events table. */
export async function prepareDryRun(
  target: InsertTarget,
  signal?: AbortSignal,
): Promise<DryRun | { readonly failure: StatementFailure }> {
  const answer = await askText(target, COLUMNS_QUERY, signal)
  if ('failure' in answer) return answer
  const columns = answer.text.trim()
  if (columns === '') {
    const message = `there is no table ${EVENTS_TABLE} in database ${target.database}`
    return { failure: { exceptionCode: undefined, code: 'no_events_table', message } }
  }
  const literal = columns.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  const query = `INSERT INTO FUNCTION null('${literal}') FORMAT Native`
  return (body, ownSignal) => {
    const aborting = ownSignal === undefined ? {} : { signal: ownSignal }
    return sendStatement(target, { ...body, query, settings: READING_SETTINGS, ...aborting })
  }
}

/** A block of one event with a value in every column: what can be read whenever the table is as it should be. */
export function controlBody(): DryRunBody {
  const block = new EventBlock()
  const text = 'control'
  const ip = new Uint8Array(16).fill(1)
  block.append({
    tenantId: text,
    workspaceId: text,
    eventId: '01890a5d-ac96-774b-bcce-b302099a8057',
    messageId: text,
    type: text,
    protocol: text,
    occurredAt: 1,
    receivedAt: 1,
    sessionId: text,
    userId: text,
    anonymousId: text,
    url: text,
    path: text,
    referrer: text,
    referrerHost: text,
    title: text,
    locale: text,
    userAgent: text,
    browser: text,
    os: text,
    device: text,
    ip,
    schemaVersion: text,
    properties: { text, number: 1, nested: { list: [1] } },
    context: { text },
  })
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  return { body: [bytes], bodyBytes: bytes.byteLength }
}
