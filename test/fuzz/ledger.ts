/** Counts what must be stored in each workspace. */
import type { EventName } from './expected-events.ts'

interface Page {
  /** Events without a name. */
  unnamed: number
  readonly names: Set<string>
  /** Copies of named ones that were accepted. */
  copies: number
}

export class Ledger {
  private readonly pages = new Map<string, Page>()

  /** These were acknowledged. */
  add(workspace: string, names: Iterable<EventName>): void {
    const page = this.pages.get(workspace) ?? { unnamed: 0, names: new Set<string>(), copies: 0 }
    this.pages.set(workspace, page)
    for (const name of names) {
      if (name === undefined) page.unnamed++
      else if (page.names.has(name)) page.copies++
      else page.names.add(name)
    }
  }

  /** Rows that there must be, by workspace. */
  rows(): Record<string, number> {
    return Object.fromEntries(
      Array.from(this.pages, ([workspace, { unnamed, names }]) => [workspace, unnamed + names.size]),
    )
  }

  get accepted(): number {
    return this.sum(({ unnamed, names, copies }) => unnamed + names.size + copies)
  }

  get copies(): number {
    return this.sum(({ copies }) => copies)
  }

  private sum(of: (page: Page) => number): number {
    return [...this.pages.values()].reduce((sum, page) => sum + of(page), 0)
  }
}
