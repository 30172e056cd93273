/**
 * Finds the records of a segment that ClickHouse cannot read.
 *
 * The rule. Nothing is refused for the error of an insert: the error may have come after rows were written, and rows sent again
 * under another token would be doubled. A record is refused when ClickHouse cannot read it alone, in a dry run, while it
 * reads a good block (`controlBody`). When that cannot be read either, the table or the server is at fault and nothing is refused.
 *
 * A code that says that it cannot be read is enough, once. Any other reason, such as a memory limit, a crash or no answer, may pass, and
 * the segment may have been stored before it came. So the record has to fail CONFIRMATIONS times, a while apart, and between any
 * two of them ClickHouse has to read a good body of twice its size: what fails then asks for more than any honest record.
 *
 * A segment of which something is refused was therefore never written, not even in part: an insert is read as a whole before anything of
 * it is written (see `insert.ts`). So the others can go under tokens of their own. When all records can be read one by one, but not the
 * whole, it is cut into parts only if the code says that it cannot be read; else the whole is tried again.
 */
import type { RecordPosition } from '../log/event-log.ts'
import { errorClass } from './error-class.ts'
import type { StatementFailure } from './insert.ts'

/** A record and why it cannot be read. */
export interface RefusedPosition {
  readonly record: RecordPosition
  readonly code: string
  readonly message: string
}

/** How a segment has to be sent: each part by itself, the refused records not at all. */
export interface Narrowed {
  readonly parts: readonly (readonly RecordPosition[])[]
  readonly refused: readonly RefusedPosition[]
}

/** Asks ClickHouse. */
export interface Reader {
  /** Undefined: these records, one after the other, can be read. */
  read(records: readonly RecordPosition[]): Promise<StatementFailure | undefined>
  /** `good`: ClickHouse reads good blocks of at least so many bytes; waits while it is away. `bad`: it does not. `gone`: nothing is asked any more. */
  control(bytesMin: number): Promise<'good' | 'bad' | 'gone'>
  /** Lets so much time go by that a passing reason may have passed. */
  pause(): Promise<void>
}

/**
 * `readable`: the segment as a whole can be read, what failed is something else. `unclear`: ask again later. Otherwise how to
 * send it.
 */
export type NarrowingResult = 'readable' | 'unclear' | Narrowed

const CONFIRMATIONS = 3
/** These say nothing about a body: it was not sent as a whole. */
const NOT_SENT = new Set(['aborted', 'body_failed'])

/** Looks for what cannot be read, by halves. */
export async function narrow(records: readonly RecordPosition[], reader: Reader): Promise<NarrowingResult> {
  const whole = await reader.read(records)
  if (whole === undefined) return 'readable'
  const parts: (readonly RecordPosition[])[] = []
  const refused: RefusedPosition[] = []
  const waiting: { readonly range: readonly RecordPosition[]; readonly failure?: StatementFailure }[] = []
  waiting.push({ range: records, failure: whole })
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { range } = next
    const failure = next.failure ?? (await reader.read(range))
    if (failure === undefined) {
      parts.push(range)
      continue
    }
    if (NOT_SENT.has(failure.code)) return 'unclear'
    const [record] = range
    if (record !== undefined && range.length === 1) {
      const verdict = await confirm(record, failure, reader)
      if (verdict === 'unclear') return 'unclear'
      if (verdict === 'readable') parts.push(range)
      else refused.push({ record, code: verdict.code, message: verdict.message })
      continue
    }
    if (errorClass(failure.exceptionCode) === 'retry' && (await reader.control(0)) !== 'good') return 'unclear'
    const middle = range.length >>> 1
    waiting.push({ range: range.slice(middle) }, { range: range.slice(0, middle) })
  }
  const isDecided = refused.length > 0 || errorClass(whole.exceptionCode) === 'unreadable'
  return isDecided ? join(parts, refused, reader) : 'unclear'
}

/** The good ranges as one part, when ClickHouse reads them one after the other. */
async function join(
  parts: readonly (readonly RecordPosition[])[],
  refused: readonly RefusedPosition[],
  reader: Reader,
): Promise<Narrowed | 'unclear'> {
  if (parts.length < 2 || refused.length === 0) return { parts, refused }
  const all = parts.flat()
  const failure = await reader.read(all)
  if (failure === undefined) return { parts: [all], refused }
  return errorClass(failure.exceptionCode) === 'unreadable' ? { parts, refused } : 'unclear'
}

async function confirm(
  record: RecordPosition,
  first: StatementFailure,
  reader: Reader,
): Promise<StatementFailure | 'readable' | 'unclear'> {
  let failure = first
  for (let count = 1; ; count++) {
    const isUnreadable = errorClass(failure.exceptionCode) === 'unreadable'
    const controlBytes = isUnreadable ? 0 : 2 * record.byteLength
    if (NOT_SENT.has(failure.code) || (await reader.control(controlBytes)) !== 'good') return 'unclear'
    if (isUnreadable || count === CONFIRMATIONS) return failure
    await reader.pause()
    const again = await reader.read([record])
    if (again === undefined) return 'readable'
    failure = again
  }
}
