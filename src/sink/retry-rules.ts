/** What a failed insert means for those that come after it. */
import assert from 'node:assert/strict'
import { errorCode } from '../log/file-system.ts'
import { reasonOf } from '../problem.ts'
import { errorClass } from './error-class.ts'
import { ANOTHER_SERVER, SHARD_AWAY, type StatementFailure } from './insert.ts'

/** No answer at all may mean that the body brings ClickHouse down; but far more often that it is away. */
const SILENT_FAILURES = 4
/** Nobody took the body, so it cannot be the reason. */
const NOBODY_THERE = new Set(['ECONNREFUSED', SHARD_AWAY, ANOTHER_SERVER])
/** Other answers often are over at the next try. */
const ANSWERED_FAILURES = 2
/** ClickHouse's code when an earlier try under the same token has not ended: see `query_id` in `insert.ts`. */
export const QUERY_IS_RUNNING = 216

/**
 * Whether a failure says nothing about ClickHouse as a whole.
 * @param isStuck the segment has failed again and again already
 */
export function isItsOwn(isStuck: boolean, failure: StatementFailure): boolean {
  if (failure.code === 'body_failed' || failure.exceptionCode === QUERY_IS_RUNNING) return true
  if (errorClass(failure.exceptionCode) === 'unreadable') return true
  return isStuck && failure.exceptionCode !== undefined
}

/**
 * Whether to look for unreadable records: at once when ClickHouse says so, else after some failures, and ever more seldom.
 * @param failures of this segment in a row, this one included
 */
export function isWorthAsking(failures: number, failure: StatementFailure): boolean {
  if (failure.code === 'body_failed' || !Number.isInteger(Math.log2(failures))) return false
  if (errorClass(failure.exceptionCode) === 'unreadable') return true
  if (failure.exceptionCode === undefined) return failures >= SILENT_FAILURES && !NOBODY_THERE.has(failure.code)
  return failures >= ANSWERED_FAILURES
}

/** Turns what is thrown into a failure: by the file system, or by a bug (`internal`), which must not leave events behind either. */
export async function asFailure(
  work: () => Promise<StatementFailure | undefined>,
): Promise<StatementFailure | undefined> {
  try {
    return await work()
  } catch (error) {
    const code = error instanceof assert.AssertionError ? 'UNKNOWN' : errorCode(error)
    return { exceptionCode: undefined, code: code === 'UNKNOWN' ? 'internal' : code, message: reasonOf(error) }
  }
}
