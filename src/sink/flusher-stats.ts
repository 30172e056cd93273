/** What a flusher says of itself, for health and metrics. */

/** The last failure; it stays after things are well again. */
export interface FlushError {
  /** See StatementFailure. */
  readonly code: string
  readonly message: string
  /** ms since 1970. */
  readonly at: number
}

/** State of the flusher for health and metrics. */
export interface FlusherStats {
  /** Requests on their way to ClickHouse. */
  readonly inFlight: number
  /** Segments that are taken from the log and not yet stored. */
  readonly segmentsHeld: number
  /** Of these, the ones that failed again and again, or hold what ClickHouse cannot read. */
  readonly segmentsStuck: number
  /** Since start; these only grow. */
  readonly insertedSegments: number
  readonly insertedRows: number
  readonly insertedBytes: number
  readonly retries: number
  /** Failures in a row of ClickHouse as a whole; 0 = it works. */
  readonly failuresInRow: number
  /** Files in the directory of dead letters now. */
  readonly deadLetters: number
  /** Records and rows that became dead letters since start. */
  readonly refusedRecords: number
  readonly refusedRows: number
  readonly lastError: FlushError | undefined
  /** ms since 1970. */
  readonly lastSuccessAt: number | undefined
}
