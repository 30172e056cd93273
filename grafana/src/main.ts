/** `bun run grafana`: writes grafana/dashboards. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderDashboards } from './dashboards.ts'

const DIRECTORY = join(import.meta.dir, '../dashboards')

mkdirSync(DIRECTORY, { recursive: true })
for (const [name, text] of Object.entries(renderDashboards())) {
  writeFileSync(join(DIRECTORY, name), text)
  console.log(`grafana/dashboards/${name}`)
}
