/** `penstock erase`: removes people from ClickHouse on their request, and says what it removed and what stays. Works beside running servers. */
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { type Config, loadConfig } from '../config.ts'
import { erase, type Findings, type Outcome } from '../erase/erase.ts'
import type { PersonQuery } from '../erase/person.ts'
import { type Stays, whatStays } from '../erase/stays.ts'
import { openStore, type Store } from '../erase/store.ts'
import { isProblem, reasonOf } from '../problem.ts'
import { DeadLetters, deadLettersDirectory } from '../sink/dead-letters.ts'
import { DURATION_FORM, parseDuration } from './duration.ts'
import { printReport, toJson } from './erase-report.ts'
import { CommandFailure, clickhouseOf, orFail, printJson } from './session.ts'

/** Options as commander reads them. */
export interface EraseCommandOptions {
  readonly tenant: string
  readonly workspace: string
  readonly user?: readonly string[]
  readonly usersFrom?: string
  readonly anonymousId?: readonly string[]
  readonly paths?: string
  readonly dropDeadLetters?: boolean
  readonly collector?: readonly string[]
  readonly shard?: readonly string[]
  readonly wait: string
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

/** What the command found and did. */
export interface EraseReport {
  readonly query: PersonQuery
  readonly findings: Findings
  /** Undefined: a dry run, or it was not approved. */
  readonly outcome: Outcome | undefined
  readonly stays: Stays
}

/** Resolves when everything is erased and verified, or nothing was to be; else throws CommandFailure, behind the report. */
export async function eraseCommand(options: EraseCommandOptions): Promise<void> {
  const config = orFail(loadConfig())
  const query = await readQuery(options)
  const { paths, collectors, shardUrls, waitMs } = readChoices(options)
  const asksFirst = !options.dryRun && !options.yes
  const canAsk = process.stdin.isTTY && process.stdout.isTTY && options.usersFrom !== '-' && !options.json
  if (asksFirst && !canAsk)
    throw new CommandFailure('erase wants --yes, or a terminal to ask at; --dry-run shows what it would remove')

  let hasBegun = false
  const eraseFrom = async (store: Store): Promise<void> => {
    const approve = async (findings: Findings): Promise<boolean> => {
      if (options.dryRun) return false
      if (findings.texts.total > 0 && paths === undefined) throw new CommandFailure(undecided(findings))
      if (!options.yes) {
        printReport({ query, findings, outcome: undefined, stays: await whatStays(store, config.dataDir) })
        if (!(await isConfirmed())) throw new CommandFailure('not confirmed: nothing is removed')
      }
      hasBegun = true
      return true
    }
    const letters = new DeadLetters(deadLettersDirectory(config.dataDir))
    const result = await erase(
      {
        store,
        query,
        letters,
        unflushed: { config, collectors, waitMs },
        texts: paths,
        dropDeadLetters: options.dropDeadLetters === true,
        isDryRun: options.dryRun === true,
      },
      approve,
    )
    if (isProblem(result)) throw new CommandFailure(result.message)
    const report: EraseReport = { query, ...result, stays: await whatStays(store, config.dataDir) }
    if (options.json) printJson(toJson(report))
    else if (options.dryRun || result.outcome !== undefined) printReport(report)
    const problems = result.outcome?.problems ?? []
    if (problems.length > 0)
      throw new CommandFailure(`not complete: ${problems.map(({ message }) => message).join('; ')}`)
  }
  try {
    const store = orFail(await openStore(clickhouseOf(config), shardUrls))
    await eraseFrom(store).finally(() => store.close())
  } catch (error) {
    throw error instanceof CommandFailure ? error : unavailable(error, config, hasBegun)
  }
}

async function readQuery(options: EraseCommandOptions): Promise<PersonQuery> {
  const listed = options.usersFrom === undefined ? [] : await readUsers(options.usersFrom)
  const users = [...new Set([...(options.user ?? []), ...listed])]
  const anonymousIds = [...new Set(options.anonymousId ?? [])]
  if ([...users, ...anonymousIds].some((id) => id === ''))
    throw new CommandFailure('an id is empty, but nobody has an empty id')
  if (users.length + anonymousIds.length === 0)
    throw new CommandFailure('say whom to erase: --user, --users-from or --anonymous-id')
  return { tenantId: options.tenant, workspaceId: options.workspace, users, anonymousIds }
}

/** One id a line. */
async function readUsers(path: string): Promise<string[]> {
  let text: string
  try {
    text = path === '-' ? await new Response(Bun.stdin.stream()).text() : await readFile(path, 'utf8')
  } catch (error) {
    throw new CommandFailure(`--users-from cannot be read: ${reasonOf(error)}`)
  }
  const users = text.split(/\r?\n/).filter((line) => line !== '')
  if (users.length === 0) throw new CommandFailure(`--users-from ${path} names nobody`)
  return users
}

function readChoices({ paths, collector = [], shard = [], wait }: EraseCommandOptions) {
  if (paths !== undefined && paths !== 'remove' && paths !== 'keep')
    throw new CommandFailure(`--paths is ${JSON.stringify(paths)}, but wants remove or keep`)
  const waitMs = parseDuration(wait)
  if (waitMs === undefined) throw new CommandFailure(`--wait is ${JSON.stringify(wait)}, but wants ${DURATION_FORM}`)
  const collectors = collector.map((address) => readAddress('--collector', address))
  const shardUrls = shard.map((address) => readAddress('--shard', address))
  return { paths, collectors, shardUrls, waitMs } as const
}

function readAddress(option: string, address: string): string {
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new CommandFailure(`${option} is ${JSON.stringify(address)}, but wants http://host:port`)
  return url.href.replace(/\/$/, '')
}

function undecided({ texts }: Findings): string {
  const [first] = texts.listed
  const example = first === undefined ? '' : ` (${first.table}: ${first.column} ${JSON.stringify(first.text)})`
  return `${texts.total} texts in aggregates may name the person${example}: nothing is removed yet; see them with --dry-run, then say --paths remove or --paths keep`
}

async function isConfirmed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const interrupted = new AbortController()
  terminal.on('SIGINT', () => interrupted.abort())
  try {
    const answer = await terminal.question('\nRemove this for good? [y/N] ', { signal: interrupted.signal })
    return /^y(es)?$/i.test(answer.trim())
  } catch {
    return false // Ctrl-C
  } finally {
    terminal.close()
  }
}

function unavailable(error: unknown, config: Config, hasBegun: boolean): CommandFailure {
  const state = hasBegun ? 'erase broke off, run it again to finish' : 'nothing is removed'
  if (error instanceof Error && 'syscall' in error && 'path' in error)
    return new CommandFailure(`${state}: ${error.message}`)
  const { url } = clickhouseOf(config)
  const hint = config.clickhouse.url === undefined ? ' (the embedded ClickHouse runs with `serve`)' : ''
  return new CommandFailure(`${state}; ClickHouse at ${url}${hint}: ${reasonOf(error)}`)
}
