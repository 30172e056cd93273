/**
 * Whether ClickHouse can read a body, found out without writing anything: the body is inserted into `null()` with the columns of
 * the events table. No table and no view takes part, so nothing but the body can be the reason when it fails and a body that
 * is known to be good does not. (ClickHouse 26.7 gives the same codes as for the insert.)
 */
import type { Event } from '../event.ts'
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

const TEXT = 'control'

/** With a value in every column. */
const CONTROL_EVENT: Event = {
  tenantId: TEXT,
  workspaceId: TEXT,
  eventId: '01890a5d-ac96-774b-bcce-b302099a8057',
  messageId: TEXT,
  type: TEXT,
  protocol: TEXT,
  occurredAt: 1,
  receivedAt: 1,
  sessionId: TEXT,
  userId: TEXT,
  anonymousId: TEXT,
  url: TEXT,
  path: TEXT,
  referrer: TEXT,
  referrerHost: TEXT,
  title: TEXT,
  locale: TEXT,
  userAgent: TEXT,
  browser: TEXT,
  os: TEXT,
  device: TEXT,
  ip: new Uint8Array(16).fill(1),
  schemaVersion: TEXT,
  properties: { text: TEXT, number: 1, nested: { list: [1] } },
  context: { text: TEXT },
}

/** Of a control body that has to be large. */
const BLOCK_ROWS = 1024

/** Blocks of events with a value in every column, so many bytes at least: what can be read whenever the table is as it should be. */
export function controlBody(bytesMin: number): DryRunBody {
  const block = new EventBlock()
  for (let rows = bytesMin === 0 ? 1 : BLOCK_ROWS; rows > 0; rows--) block.append(CONTROL_EVENT)
  const bytes = new Uint8Array(block.byteLength)
  block.writeTo(bytes, 0)
  const blocks = Math.max(1, Math.ceil(bytesMin / bytes.byteLength))
  return { body: new Array(blocks).fill(bytes), bodyBytes: blocks * bytes.byteLength }
}
