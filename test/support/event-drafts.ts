/** Events as clients send them. */

/** A good event of the canonical protocol, and what a test changes in it. */
export function makeDraft(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    type: 'pageview',
    timestamp: new Date().toISOString(),
    session_id: crypto.randomUUID(),
    properties: {},
    ...changes,
  }
}

/** Many of them, told apart by `properties.n`. */
export function makeDrafts(count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, n) => makeDraft({ properties: { n } }))
}
