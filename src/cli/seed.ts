/** `penstock seed`: demo traffic of a web shop, sent to a running collector through its front door. */
import type { Config } from '../config.ts'
import type { Provisioned } from '../control/control-database.ts'
import { hasControl } from '../control/control-place.ts'
import { toProvisionedJson } from '../control/first-workspace.ts'
import { hashKey } from '../control/keys.ts'
import type { WorkspaceName } from '../control/workspace-record.ts'
import { isProblem } from '../problem.ts'
import { send } from '../seed/send.ts'
import { openStore, type Store } from '../seed/store.ts'
import { type TrafficPlan, traffic } from '../seed/traffic.ts'
import { announceToServers } from './announce.ts'
import { httpAddress } from './banner.ts'
import { shown, showProgress } from './progress.ts'
import { printProvisioned } from './provision.ts'
import { printWhatToSee } from './seed-views.ts'
import { CommandFailure, clickhouseOf, configOrFail, orFail, printJson, withControl } from './session.ts'

/** Options as commander reads them. */
export interface SeedOptions {
  readonly url?: string
  readonly key?: string
  readonly days: string
  readonly events: string
  readonly visitors?: string
  readonly seed: string
  readonly again?: boolean
  readonly json?: boolean
}

/** Where the events go. */
interface Destination {
  readonly key: string
  /** Of a workspace that was made for them. */
  readonly made?: Provisioned
  /** Ends the key when it was made for this run alone. */
  close(): Promise<void>
}

const DEMO: WorkspaceName = { tenant: 'demo', workspace: 'shop' }
const EVENTS_A_VISITOR = 15
const ANSWER_WITHIN_MS = 5_000
/** A run that was killed leaves its key: for so long. */
const KEY_LIFETIME_MS = 12 * 3_600_000

/** Makes the workspace where there is none, sends the events, waits until they can be queried, and says what to look at. */
export async function seed(options: SeedOptions): Promise<void> {
  const config = configOrFail()
  const plan = readPlan(options)
  const url = (options.url ?? httpAddress(config.host, config.port)).replace(/\/+$/, '')
  await findCollector(url)
  const workspace = options.key === undefined ? DEMO : await ownerOf(config, options.key)
  const store = openStore(clickhouseOf(config))
  try {
    const storedBefore = await storedEvents(store, workspace)
    if (!options.again) refuseMore(storedBefore, workspace, await workspaceIsNew(config, options.key))
    const destination = await openDestination(config, options.key)
    if (destination.made !== undefined && !options.json) printProvisioned(destination.made, 'unlimited')
    const begunMs = performance.now()
    const visits = await sendAll(url, plan, destination, options.json === true).finally(() => destination.close())
    const sentMs = performance.now() - begunMs
    const isQueryable =
      workspace !== undefined &&
      typeof storedBefore === 'number' &&
      (await store.holds(workspace, storedBefore + plan.events))
    const result = { plan, visits, url, config, workspace, isQueryable, sentMs, made: destination.made }
    if (!options.json) return printWhatToSee(result)
    printJson({
      tenant_id: workspace?.tenant ?? null,
      workspace_id: workspace?.workspace ?? null,
      ...(destination.made && toProvisionedJson(destination.made)),
      events: plan.events,
      visits,
      from: new Date(plan.untilMs - plan.days * 86_400_000).toISOString(),
      until: new Date(plan.untilMs).toISOString(),
      queryable: isQueryable,
    })
  } finally {
    await store.close()
  }
}

/** Sends the plan's events; gives the number of visits. */
async function sendAll(url: string, plan: TrafficPlan, { key, made }: Destination, isQuiet: boolean): Promise<number> {
  let visits = 0
  let accepted = 0
  function* counted() {
    for (const drafts of traffic(plan)) {
      visits++
      yield drafts
    }
  }
  if (!isQuiet) process.stdout.write(`${made ? '\n' : ''}Sending ${shown(plan.events)} events to ${url}\n`)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const progress = showProgress(plan.events, 'events')
  const failure = await send({
    url,
    key,
    visits: counted(),
    signal: stop.signal,
    onAccepted: (events) => {
      accepted += events
      progress.add(events)
    },
    onRateLimit: (eventsPerMinute) => {
      const minutes = Math.ceil(plan.events / eventsPerMinute)
      process.stderr.write(
        `warning: this key may send ${shown(eventsPerMinute)} events a minute: that takes about ${minutes} minutes\n`,
      )
    },
  })
  progress.stop()
  process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  if (failure === undefined) return visits
  const hint =
    failure.problem === 'unknown_key' && made !== undefined
      ? '; use the DATA_DIR or CONTROL_DATABASE_URL of that collector, or give a --key of it'
      : `; ${shown(accepted)} of ${shown(plan.events)} events were accepted`
  throw new CommandFailure(`${failure.message}${hint}`)
}

function readPlan(options: SeedOptions): TrafficPlan {
  const events = readWhole('--events', options.events, 1_000_000_000)
  const visitors =
    options.visitors === undefined
      ? Math.ceil(events / EVENTS_A_VISITOR)
      : readWhole('--visitors', options.visitors, 100_000_000)
  return { seed: options.seed, events, visitors, days: readWhole('--days', options.days, 365), untilMs: Date.now() }
}

function readWhole(option: string, text: string, highest: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= highest) return value
  const wants = `a whole number from 1 to ${highest}`
  throw new CommandFailure(`${option} is ${JSON.stringify(text)}, but wants ${wants}`)
}

async function findCollector(url: string): Promise<void> {
  const start = 'start it with `penstock serve`, or give its address with --url'
  let response: Response
  try {
    response = await fetch(`${url}/livez`, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) })
  } catch {
    throw new CommandFailure(`no collector answers at ${url}: ${start}`)
  }
  if (!response.ok || !response.headers.has('x-request-id'))
    throw new CommandFailure(`what answers at ${url} is no collector: ${start}`)
}

/** The workspace of a key, as far as the control database here knows it: the key may be another collector's. */
async function ownerOf(config: Config, key: string): Promise<WorkspaceName | undefined> {
  if (!hasControl(config)) return undefined
  const found = await withControl((control) => control.findKeyByHash(hashKey(key)))
  return found && { tenant: found.tenantId, workspace: found.workspaceId }
}

async function workspaceIsNew(config: Config, key: string | undefined): Promise<boolean> {
  if (key !== undefined || !hasControl(config)) return false
  const known = await withControl((control) => control.listWorkspaces(DEMO))
  return !known.some(({ workspace }) => workspace === DEMO.workspace)
}

/** Events that the workspace has; or why that is not known, in words. */
async function storedEvents(store: Store, workspace: WorkspaceName | undefined): Promise<number | string> {
  if (workspace === undefined) return 'the control database here does not know the key'
  const count = await store.count(workspace)
  return isProblem(count) ? count.message : count
}

/** A second run would double what the first one sent: its ids are new ones. */
function refuseMore(stored: number | string, workspace: WorkspaceName | undefined, isNew: boolean): void {
  const name =
    workspace === undefined ? 'the workspace of the key' : `workspace ${workspace.tenant}/${workspace.workspace}`
  if (typeof stored === 'string') {
    if (isNew) return
    throw new CommandFailure(`cannot tell whether ${name} has events (${stored}): --again sends them all the same`)
  }
  if (stored > 0)
    throw new CommandFailure(`${name} has ${shown(stored)} events already: --again adds more, by the same visitors`)
}

async function openDestination(config: Config, key: string | undefined): Promise<Destination> {
  if (key !== undefined) return { key, close: async () => undefined }
  if (!hasControl(config)) {
    throw new CommandFailure(
      `there is no control database in DATA_DIR (${config.dataDir}): use that of the collector, or give a --key`,
    )
  }
  if (await workspaceIsNew(config, undefined)) {
    const made = orFail(await withControl((control) => control.provision({ ...DEMO, tier: 'unlimited' })))
    return { key: made.secretKey, made, close: async () => undefined }
  }
  const expiresAt = new Date(Date.now() + KEY_LIFETIME_MS)
  const request = { ...DEMO, kind: 'secret', scopes: 'ingest', tier: 'unlimited', expiresAt } as const
  const made = orFail(await withControl((control) => control.createKey(request)))
  return {
    key: made.key,
    async close() {
      await withControl((control) => control.revokeKey(made.record.id))
      await announceToServers(config, made.record.id)
    },
  }
}
