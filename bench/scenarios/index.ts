/** Every scenario, in the order in which they run. A new one is a file here and a line below. */
import type { Scenario } from '../scenario.ts'
import { baseline } from './baseline.ts'
import { batch } from './batch.ts'
import { generator } from './generator.ts'
import { ids } from './ids.ts'
import { insertCost } from './insert-cost.ts'
import { keys } from './keys.ts'
import { ndjson } from './ndjson.ts'
import { neighbours } from './neighbours.ts'
import { freeze, outage } from './outage.ts'
import { protocols } from './protocols.ts'
import { queries } from './queries.ts'
import { restart } from './restart.ts'
import { shared } from './shared.ts'
import { single } from './single.ts'
import { start } from './start.ts'
import { streams } from './streams.ts'
import { telemetry } from './telemetry.ts'
import { tenants } from './tenants.ts'
import { views } from './views.ts'

export const SCENARIOS: readonly Scenario[] = [
  generator,
  batch,
  single,
  ndjson,
  ids,
  shared,
  streams,
  protocols,
  baseline,
  insertCost,
  views,
  outage,
  freeze,
  restart,
  start,
  tenants,
  neighbours,
  keys,
  queries,
  telemetry,
]
