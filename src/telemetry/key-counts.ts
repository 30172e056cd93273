/**
 * Events by key, for METRICS_PER_KEY: who sends how much. A series for each key is much for a system of metrics, so this is off unless asked
 * for, and has room for so many keys only; events of the others are counted together.
 */

/** What is said of a key. */
export interface CountedKey {
  readonly keyId: string
  readonly tenantId: string
  readonly workspaceId: string
}

export type KeyOutcome = 'accepted' | 'rejected' | 'rate_limited'

/** One key, or all for which there was no room. */
export interface KeyRow {
  readonly tenantId: string
  readonly workspaceId: string
  readonly keyId: string
  readonly events: Record<KeyOutcome, number>
}

export interface KeyCounts {
  add(key: CountedKey, outcome: KeyOutcome, events: number): void
  rows(): Iterable<KeyRow>
}

/** Counts nothing. */
export const NO_KEY_COUNTS: KeyCounts = { add: () => undefined, rows: () => [] }

const KEYS_MAX = 1_000
const OTHER = 'other'

/** See the head of this file. */
export class BoundedKeyCounts implements KeyCounts {
  readonly #keysMax: number
  readonly #rows = new Map<string, KeyRow>()
  #other: KeyRow | undefined

  constructor(keysMax = KEYS_MAX) {
    this.#keysMax = keysMax
  }

  add(key: CountedKey, outcome: KeyOutcome, events: number): void {
    if (events === 0) return
    const row = this.#rows.get(key.keyId) ?? this.#rowFor(key)
    row.events[outcome] += events
  }

  *rows(): Iterable<KeyRow> {
    yield* this.#rows.values()
    if (this.#other !== undefined) yield this.#other
  }

  #rowFor({ keyId, tenantId, workspaceId }: CountedKey): KeyRow {
    if (this.#rows.size < this.#keysMax) {
      const row = newRow(keyId, tenantId, workspaceId)
      this.#rows.set(keyId, row)
      return row
    }
    this.#other ??= newRow(OTHER, OTHER, OTHER)
    return this.#other
  }
}

function newRow(keyId: string, tenantId: string, workspaceId: string): KeyRow {
  return { keyId, tenantId, workspaceId, events: { accepted: 0, rejected: 0, rate_limited: 0 } }
}
