/**
 * The embedded ClickHouse, as a process of its own: started by `embedded-clickhouse.ts`, never imported.
 *
 *     bun clickhouse-process.ts <path of libchdb> <options of `clickhouse local`> …
 *
 * `chdb_query_cmdline` is the main function of `clickhouse local`. The queries below make it a server; the last one reads
 * standard input, which is a pipe that the parent holds, so the server ends when the parent closes the pipe or dies.
 */
import { CString, dlopen, FFIType, type Pointer, ptr } from 'bun:ffi'
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

const QUERIES = [
  'SYSTEM START LISTEN TCP',
  'SYSTEM START LISTEN HTTP', // the last one: when it answers, both are open
  "SELECT * FROM file('-', 'LineAsString') FORMAT Null",
].join('; ')

/** Of 0 to 19; a core that both want is shared 3 to 1. */
const NICENESS = 5

const [libraryPath, ...options] = process.argv.slice(2)
assert(libraryPath !== undefined, 'the first argument is the path of libchdb')

const library = dlopen(libraryPath, {
  // The result is a pointer to a `chdb_result`, not an exit code.
  chdb_query_cmdline: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.ptr },
  chdb_result_error: { args: [FFIType.ptr], returns: FFIType.ptr },
})

// Where cores are few, merges must not keep requests waiting. What the edge takes meanwhile waits in the log.
setPriority(NICENESS)
setPriorityOfSession(NICENESS)

process.exit(run(['clickhouse', ...options, '--query', QUERIES]))

/**
 * Where Linux shares the cores between sessions first (autogroups, where there are no control groups), niceness counts within a session
 * only, and the engine is alone in its own: the session has a niceness too. Two busy loops on one core, the second as the engine is: without
 * this 50 to 50, with it 75 to 25.
 */
function setPriorityOfSession(niceness: number): void {
  try {
    writeFileSync('/proc/self/autogroup', String(niceness))
  } catch {
    // Not Linux, or a kernel without them.
  }
}

/** Runs the engine until standard input ends. Returns the exit code; what went wrong is on standard error. */
function run(words: readonly string[]): number {
  const strings = words.map((word) => Buffer.from(`${word}\0`))
  const pointers = BigUint64Array.from([...strings.map((string) => BigInt(ptr(string))), 0n])
  const result = library.symbols.chdb_query_cmdline(words.length, ptr(pointers))
  assert(strings.length === words.length) // the strings must outlive the call
  const error = result === null ? 'chdb_query_cmdline returned no result' : errorOf(result)
  if (error === undefined) return 0
  process.stderr.write(`${error}\n`)
  return 1
}

function errorOf(result: Pointer | bigint): string | undefined {
  const error = library.symbols.chdb_result_error(result)
  return error === null ? undefined : new CString(Number(error) as Pointer).toString()
}
