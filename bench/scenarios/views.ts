import { type FilledTable, filledTables, measureViews, type ViewCost } from '../measure/view-cost.ts'
import type { Row, Scenario } from '../scenario.ts'
import { migrateDatabase, startOwnClickHouse } from '../system/clickhouse.ts'
import { blockBodies, type SessionSpread } from '../workload/blocks.ts'

const INSERT_ROWS = 100_000
const SPREADS: readonly SessionSpread[] = ['busy', 'quiet']

interface Variant {
  readonly label: string
  isKept(filled: FilledTable): boolean
}

/** Which views there are to choose from: each by itself, with those that are behind it. */
function variants(views: readonly FilledTable[]): readonly Variant[] {
  const behind = (table: string): string[] => [
    table,
    ...views.filter(({ source }) => source === table).flatMap((filled) => behind(filled.table)),
  ]
  const chains = views.filter(({ source }) => source === 'events').map(({ table }) => behind(table))
  return [
    ...chains.map((chain) => ({
      label: chain.join(' → '),
      isKept: ({ table }: FilledTable) => chain.includes(table),
    })),
    { label: 'all', isKept: () => true },
  ]
}

/** The price of every materialized view: what it adds to an insert, and what one merge of its table costs. */
export const views: Scenario = {
  name: 'views',
  title: 'what each materialized view adds to ClickHouse’s CPU per event, by the insert and by one merge of its table',
  isInShort: true,
  async run(bench) {
    const inserts = bench.isShort ? 2 : 20
    const rows = bench.isShort ? 5_000 : INSERT_ROWS
    const rounds = bench.isShort ? 1 : 2
    const { clickhouse } = await startOwnClickHouse(bench.resources)
    await migrateDatabase(clickhouse)
    const chosen = variants(await filledTables(clickhouse))
    const found: Row[] = []
    for (const spread of bench.isShort ? SPREADS.slice(0, 1) : SPREADS) {
      const bodies = [...blockBodies({ inserts, rows, spread, now: Date.now() })]
      const measure = async (variant: Variant | undefined) => {
        const label = `${spread} sessions, ${variant?.label ?? 'no view'}`
        bench.say(label)
        const costs: ViewCost[] = []
        for (let round = 0; round < rounds; round++)
          costs.push(await measureViews(clickhouse, bodies, (filled) => variant?.isKept(filled) ?? false))
        return { label, cost: least(costs) }
      }
      await measureViews(clickhouse, bodies.slice(0, 1), () => true) // warm-up
      const none = await measure(undefined)
      found.push({ label: none.label, figures: { events: none.cost.events, insertCpuUs: none.cost.insertCpuUs } })
      for (const variant of chosen) {
        const { label, cost } = await measure(variant)
        const insertAddedCpuUs = cost.insertCpuUs - none.cost.insertCpuUs
        const { events, mergeCpuUs } = cost
        found.push({
          label,
          figures: { events, insertAddedCpuUs, mergeCpuUs, addedCpuUs: insertAddedCpuUs + mergeCpuUs },
        })
      }
    }
    const notes = [
      `${inserts} inserts of ${rows} events, the least of ${rounds}; busy: 20,000 sessions, quiet: every event of an insert has another session`,
    ]
    return { rows: found, notes }
  },
}

/** What else happens on the machine only adds. */
function least(costs: readonly ViewCost[]): ViewCost {
  const total = ({ insertCpuUs, mergeCpuUs }: ViewCost) => insertCpuUs + mergeCpuUs
  return costs.reduce((best, cost) => (total(cost) < total(best) ? cost : best))
}
