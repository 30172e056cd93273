/**
 * What ClickHouse's error codes say about a body that was sent.
 *
 * `unreadable`: ClickHouse says that it could not read the body. Almost always that is so, and nothing of the body was written;
 * but a view that runs after the events were written can fail with the same codes, so the code alone refuses nothing: it
 * only makes the flusher ask at once, see `narrowing.ts`.
 *
 * `retry`: everything else, known or not. Network, timeouts, too many parts, memory, read-only, missing tables, wrong
 * password, broken views: they end when somebody mends them, and the events may have been written before the error came.
 *
 * Each code in the table was provoked against ClickHouse 26.7 with a damaged block (`error-class.test.ts`), and came the same
 * from the insert and from reading alone. Damaged sizes can also ask for more memory than there is (241, 173) or be noticed by
 * an assertion (49): these say nothing about the body by themselves and are `retry`.
 */

/** See the head of the file. */
export type ErrorClass = 'unreadable' | 'retry'

/** Codes by which ClickHouse says that it cannot read a body, and what was wrong with the block when they came. */
export const UNREADABLE_CODES: ReadonlyMap<number, string> = new Map([
  [32, 'ATTEMPT_TO_READ_AFTER_EOF: ends within a number, or has fewer values than it says'],
  [33, 'CANNOT_READ_ALL_DATA: ends within a string or a column; a JSON value is shorter than its type'],
  [36, 'BAD_ARGUMENTS: a type with impossible parameters, such as an unknown time zone'],
  [41, 'CANNOT_PARSE_DATETIME: text that is no time, in a time column'],
  [42, 'NUMBER_OF_ARGUMENTS_DOESNT_MATCH: a type that lacks a parameter'],
  [43, 'ILLEGAL_TYPE_OF_ARGUMENT: a type that cannot become that of the column'],
  [50, 'UNKNOWN_TYPE: a type that this ClickHouse does not have'],
  [53, 'TYPE_MISMATCH: a type that cannot become that of the column'],
  [62, 'SYNTAX_ERROR: a name of a type that is none'],
  [
    117,
    'INCORRECT_DATA: dictionary index out of range, unknown version, offsets that fall, unknown type of a JSON value',
  ],
  [128, 'TOO_LARGE_ARRAY_SIZE: absurdly many rows or columns'],
  [131, 'TOO_LARGE_STRING_SIZE: an absurdly long string'],
  [223, 'UNEXPECTED_AST_STRUCTURE: a type with impossible parameters'],
  [306, 'TOO_DEEP_RECURSION: a type nested too deep'],
  [376, 'CANNOT_PARSE_UUID: text that is no UUID, in a UUID column'],
])

/** The class of a failure; undefined is a failure without a code, such as one of the network. */
export function errorClass(exceptionCode: number | undefined): ErrorClass {
  return exceptionCode !== undefined && UNREADABLE_CODES.has(exceptionCode) ? 'unreadable' : 'retry'
}
