/** Tables on the terminal. */
import type { Figures, Row } from '../scenario.ts'
import { COLUMNS, write } from './figures.ts'
import type { Mark } from './targets.ts'

const NAMES = Object.keys(COLUMNS) as (keyof Figures)[]

/** A scenario's rows; only the columns that one of them has. */
export function renderRows(rows: readonly Row[]): string {
  const names = NAMES.filter((name) => rows.some((row) => row.figures[name] !== undefined))
  const head = ['', ...names.map((name) => COLUMNS[name].heading)]
  return renderTable([head, ...rows.map((row) => [row.label, ...names.map((name) => write(name, row.figures[name]))])])
}

/** The targets, and whether they were met. */
export function renderMarks(marks: readonly Mark[]): string {
  const rows = marks.map(({ target, value, isMet }) => [
    isMet ? '✓' : '✗',
    target.name,
    short(value),
    `${target.isMost ? 'at most' : 'at least'} ${short(target.limit)}${target.aim === undefined ? '' : ` (aim ${short(target.aim)})`}`,
  ])
  return renderTable(rows, 2)
}

/** The first `leftColumns` columns to the left, the others to the right. */
function renderTable(rows: readonly (readonly string[])[], leftColumns = 1): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  const pad = (cell: string, column: number) =>
    column < leftColumns ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
  return rows.map((row) => `  ${row.map(pad).join('  ')}\n`).join('')
}

function short(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 })
}
